-- hearth for Neovim (0.7.2 and newer): ghost text while typing, :HearthExplain and :HearthFix.
-- The work is done by `hearth lsp`; this file starts it, shows what it answers and takes keys. Where Neovim draws inline
-- completions itself (0.12), `native = true` leaves the drawing to it.
local ghost = require('hearth.ghost')

local M = {}

local defaults = {
  command = { 'hearth', 'lsp' },
  -- Buffers of these file types are left alone; special buffers always are.
  excluded_filetypes = { 'help', 'gitcommit', 'TelescopePrompt' },
  is_automatic = true, -- ask while typing
  native = false,
  keys = { accept = '<Tab>', accept_line = '<M-l>', accept_word = '<M-w>', dismiss = '<C-]>', trigger = '<M-\\>' },
  restarts_max = 3,
}

local options = defaults
local client_id = nil
local restarts = 0

local function client()
  return client_id and vim.lsp.get_client_by_id(client_id) or nil
end

local function capabilities()
  local all = vim.lsp.protocol.make_client_capabilities()
  all.textDocument.inlineCompletion = { dynamicRegistration = false }
  all.textDocument.codeAction.dataSupport = true
  all.textDocument.codeAction.resolveSupport = { properties = { 'edit' } }
  return all
end

local function on_exit(code)
  client_id = nil
  ghost.clear()
  if code == 0 or restarts >= options.restarts_max then
    return
  end
  restarts = restarts + 1
  vim.schedule(function()
    M.attach(0)
  end)
end

local function start()
  if client() then
    return client_id
  end
  client_id = vim.lsp.start_client({
    name = 'hearth',
    cmd = options.command,
    root_dir = vim.loop.cwd(),
    capabilities = capabilities(),
    init_options = { showsExplanations = true },
    -- The server supersedes what is stale by itself: waiting here would only add to the latency.
    flags = { debounce_text_changes = 0 },
    on_exit = on_exit,
  })
  return client_id
end

local function wants(buffer)
  local filetype = vim.api.nvim_buf_get_option(buffer, 'filetype')
  return vim.api.nvim_buf_get_option(buffer, 'buftype') == ''
    and vim.api.nvim_buf_get_option(buffer, 'modifiable')
    and not vim.tbl_contains(options.excluded_filetypes, filetype)
end

--- Connects a buffer to hearth; 0 is the current one.
function M.attach(buffer)
  buffer = buffer == 0 and vim.api.nvim_get_current_buf() or buffer
  if not wants(buffer) then
    return
  end
  local id = start()
  if id then
    vim.lsp.buf_attach_client(buffer, id)
  end
end

--- Asks for a suggestion at the cursor. trigger_kind: 1 invoked, 2 automatic.
function M.request(trigger_kind)
  local server = client()
  local buffer = vim.api.nvim_get_current_buf()
  if not server or not vim.lsp.buf_is_attached(buffer, server.id) then
    return
  end
  ghost.request(server, buffer, trigger_kind or 1)
end

local function on_typed()
  if ghost.follow() then
    return -- what was typed is what the suggestion says: it only got shorter
  end
  ghost.clear()
  if options.is_automatic then
    M.request(2)
  end
end

-- Runs `accept`; where there is no suggestion the key does what it always did.
local function map_accept(key, accept)
  if not key or key == '' then
    return
  end
  local fallback = vim.api.nvim_replace_termcodes(key, true, false, true)
  vim.keymap.set('i', key, function()
    if not ghost.is_shown() then
      vim.api.nvim_feedkeys(fallback, 'in', false) -- before what was typed after it
      return
    end
    accept()
  end, { desc = 'hearth: accept the suggestion' })
end

local function range_params(server, first, last)
  local buffer = vim.api.nvim_get_current_buf()
  local text = vim.api.nvim_buf_get_lines(buffer, last - 1, last, false)[1] or ''
  local finish = vim.lsp.util._str_utfindex_enc
      and vim.lsp.util._str_utfindex_enc(text, #text, server.offset_encoding)
    or #text
  local range = { start = { line = first - 1, character = 0 }, ['end'] = { line = last - 1, character = finish } }
  local found = {}
  for _, diagnostic in ipairs(vim.diagnostic.get(buffer)) do
    if diagnostic.lnum >= first - 1 and diagnostic.lnum <= last - 1 then
      table.insert(found, {
        range = {
          start = { line = diagnostic.lnum, character = diagnostic.col },
          ['end'] = { line = diagnostic.end_lnum or diagnostic.lnum, character = diagnostic.end_col or diagnostic.col },
        },
        severity = diagnostic.severity,
        source = diagnostic.source,
        message = diagnostic.message,
      })
    end
  end
  return {
    textDocument = vim.lsp.util.make_text_document_params(buffer),
    range = range,
    context = { diagnostics = found },
  }
end

local function tell(text, level)
  vim.notify('hearth: ' .. text, level or vim.log.levels.INFO)
end

-- Asks for actions of one kind on some lines and hands the first to `run`.
local function with_action(kind, first, last, run)
  local server = client()
  if not server then
    return tell('not connected to this buffer', vim.log.levels.WARN)
  end
  local params = range_params(server, first, last)
  params.context.only = { kind }
  server.request('textDocument/codeAction', params, function(failure, actions)
    if failure then
      return tell(failure.message, vim.log.levels.ERROR)
    end
    if not actions or #actions == 0 then
      return tell('nothing to do here')
    end
    run(server, actions[1])
  end, vim.api.nvim_get_current_buf())
end

--- Shows what some lines do in a floating window.
function M.explain(first, last)
  with_action('hearth.explain', first, last, function(server, action)
    server.request('workspace/executeCommand', action.command, function(failure, result)
      if failure then
        return tell(failure.message, vim.log.levels.ERROR)
      end
      if not result or not result.text then
        return tell('no explanation')
      end
      local buffer = vim.lsp.util.open_floating_preview(vim.split(result.text, '\n'), '', { border = 'rounded' })
      vim.api.nvim_buf_set_option(buffer, 'syntax', 'markdown')
    end)
  end)
end

--- Mends the faulty line among some lines.
function M.fix(first, last)
  with_action('quickfix', first, last, function(server, action)
    local function apply(resolved)
      if resolved.edit and (next(resolved.edit.changes or {}) or next(resolved.edit.documentChanges or {})) then
        vim.lsp.util.apply_workspace_edit(resolved.edit, server.offset_encoding)
      end
    end
    server.request('codeAction/resolve', action, function(failure, resolved)
      if failure then
        return tell(failure.message, vim.log.levels.ERROR)
      end
      apply(resolved)
    end)
  end)
end

local function make_commands()
  vim.api.nvim_create_user_command('HearthExplain', function(call)
    M.explain(call.line1, call.line2)
  end, { range = true, desc = 'Explain the lines' })
  vim.api.nvim_create_user_command('HearthFix', function(call)
    M.fix(call.line1, call.line2)
  end, { range = true, desc = 'Fix the lines' })
end

local function make_keys()
  map_accept(options.keys.accept, ghost.accept)
  map_accept(options.keys.accept_line, ghost.accept_line)
  map_accept(options.keys.accept_word, ghost.accept_word)
  map_accept(options.keys.dismiss, ghost.clear)
  if options.keys.trigger and options.keys.trigger ~= '' then
    vim.keymap.set('i', options.keys.trigger, function()
      M.request(1)
    end, { desc = 'hearth: suggest' })
  end
end

--- Call once from init.lua; `wanted` overrides the defaults above.
function M.setup(wanted)
  options = vim.tbl_deep_extend('force', defaults, wanted or {})
  restarts = 0
  vim.api.nvim_set_hl(0, 'HearthGhost', { default = true, link = 'Comment' })
  local group = vim.api.nvim_create_augroup('hearth', { clear = true })
  vim.api.nvim_create_autocmd({ 'FileType', 'BufEnter' }, {
    group = group,
    callback = function(event)
      M.attach(event.buf)
    end,
  })
  make_commands()
  M.attach(0)
  if options.native and vim.lsp.inline_completion then
    vim.lsp.inline_completion.enable()
    return
  end
  vim.api.nvim_create_autocmd({ 'TextChangedI', 'InsertEnter' }, { group = group, callback = on_typed })
  vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, { group = group, callback = ghost.clear })
  vim.api.nvim_create_autocmd('CursorMovedI', { group = group, callback = ghost.clear_if_moved })
  make_keys()
end

return M
