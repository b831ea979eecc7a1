# Writes OUTPUT: the version and a build id made of the commit and a hash of what is not committed.
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "source")
else()
  execute_process(COMMAND git -C ${SOURCE_DIR} diff HEAD -- core kernels lsp plugins
    OUTPUT_VARIABLE difference ERROR_QUIET)
  if(difference)
    string(SHA1 hash "${difference}")
    string(SUBSTRING "${hash}" 0 8 hash)
    string(APPEND commit "+${hash}")
  endif()
endif()
set(content "#include \"core/base/version.h\"

namespace hearth {
std::string_view version() { return \"${VERSION}\"; }
std::string_view build_id() { return \"${VERSION}-${commit}\"; }
}  // namespace hearth
")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} present)
endif()
if(NOT "${present}" STREQUAL "${content}")
  file(WRITE ${OUTPUT} "${content}")
endif()
