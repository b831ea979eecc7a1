-- The suggestion on screen: asked for, drawn as extmarks, shortened while it is typed, accepted whole or in parts.
local M = {}

local namespace = vim.api.nvim_create_namespace('hearth')
local has_inline_text = vim.fn.has('nvim-0.10') == 1

-- What is shown: buffer, row and column (bytes, from 0) of the cursor it belongs to, and the text. nil: nothing.
local shown = nil
local request_id = nil
local requests = 0

local function cursor()
  local place = vim.api.nvim_win_get_cursor(0)
  return place[1] - 1, place[2]
end

local function draw()
  vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  local lines = vim.split(shown.text, '\n')
  local row_text = vim.api.nvim_buf_get_lines(shown.buffer, shown.row, shown.row + 1, false)[1] or ''
  local is_at_end = shown.column >= #row_text
  local mark = { virt_text = { { lines[1], 'HearthGhost' } }, hl_mode = 'combine' }
  -- Before 0.10 text cannot be pushed aside: in the middle of a line the suggestion stands at its end.
  mark.virt_text_pos = has_inline_text and 'inline' or (is_at_end and 'overlay' or 'eol')
  if #lines > 1 then
    mark.virt_lines = {}
    for i = 2, #lines do
      mark.virt_lines[i - 1] = { { lines[i], 'HearthGhost' } }
    end
  end
  vim.api.nvim_buf_set_extmark(shown.buffer, namespace, shown.row, math.min(shown.column, #row_text), mark)
end

function M.is_shown()
  return shown ~= nil
end

--- The text on screen, or nil.
function M.text()
  return shown and shown.text
end

function M.clear()
  requests = requests + 1 -- what is under way belongs to the past
  if shown then
    vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
    shown = nil
  end
end

--- The cursor went elsewhere without typing.
function M.clear_if_moved()
  if not shown then
    return
  end
  local row, column = cursor()
  if row ~= shown.row or column ~= shown.column then
    -- Typing moves the cursor too; TextChangedI comes after this and decides.
    local line = vim.api.nvim_get_current_line()
    local typed = row == shown.row and column > shown.column and line:sub(shown.column + 1, column)
    if not typed or shown.text:sub(1, #typed) ~= typed then
      M.clear()
    end
  end
end

--- True when what was typed since is the begin of the suggestion, which is then shortened by it.
function M.follow()
  if not shown or vim.api.nvim_get_current_buf() ~= shown.buffer then
    return false
  end
  local row, column = cursor()
  if row ~= shown.row or column <= shown.column then
    return false
  end
  local typed = vim.api.nvim_get_current_line():sub(shown.column + 1, column)
  if shown.text:sub(1, #typed) ~= typed or #typed == #shown.text then
    return false
  end
  shown.text = shown.text:sub(#typed + 1)
  shown.column = column
  draw()
  return true
end

function M.request(server, buffer, trigger_kind)
  if request_id then
    server.cancel_request(request_id)
    request_id = nil
  end
  requests = requests + 1
  local number = requests
  local row, column = cursor()
  local params = vim.lsp.util.make_position_params(0, server.offset_encoding)
  params.context = { triggerKind = trigger_kind }
  local ok, id = server.request('textDocument/inlineCompletion', params, function(failure, result)
    if number == requests then
      request_id = nil
    end
    local items = not failure and result and (result.items or result) or {}
    local now_row, now_column = cursor()
    local is_current = number == requests and buffer == vim.api.nvim_get_current_buf() and now_row == row and now_column == column
    if not is_current or #items == 0 or vim.api.nvim_get_mode().mode:sub(1, 1) ~= 'i' then
      return
    end
    local text = items[1].insertText
    text = type(text) == 'table' and text.value or text
    -- The server may replace some text before the cursor: show what comes after it.
    local range = items[1].range
    if range and range.start.line == row then
      local line = vim.api.nvim_get_current_line()
      local start = vim.lsp.util._get_line_byte_from_position(buffer, range.start, server.offset_encoding)
      local before = line:sub(start + 1, column)
      if text:sub(1, #before) ~= before then
        return
      end
      text = text:sub(#before + 1)
    end
    if text == '' then
      return
    end
    shown = { buffer = buffer, row = row, column = column, text = text }
    draw()
  end, buffer)
  request_id = ok and id or nil
end

-- Inserts the first `bytes` bytes of the suggestion and puts the cursor behind them.
local function take(bytes)
  local now = shown
  local text, rest = now.text:sub(1, bytes), now.text:sub(bytes + 1)
  M.clear()
  local lines = vim.split(text, '\n')
  vim.api.nvim_buf_set_text(now.buffer, now.row, now.column, now.row, now.column, lines)
  local row = now.row + #lines - 1
  local column = #lines == 1 and now.column + #text or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + 1, column })
  if rest ~= '' then
    shown = { buffer = now.buffer, row = row, column = column, text = rest }
    draw()
  end
end

function M.accept()
  if shown then
    take(#shown.text)
  end
end

function M.accept_line()
  if shown then
    local newline = shown.text:find('\n', 2, true)
    take(newline and newline - 1 or #shown.text)
  end
end

function M.accept_word()
  if shown then
    local _, last = shown.text:find('^%s*[%w_]+')
    if not last then
      _, last = shown.text:find('^%s*[^%w%s]+')
    end
    take(last or #shown.text)
  end
end

return M
