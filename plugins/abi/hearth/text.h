/* Text and places in it. Text is UTF-8, not terminated, and borrowed: valid until the call that
 * carries it returns. Offsets count bytes from 0; ranges are half open. UTF-16 does not exist on
 * this border. */
#ifndef HEARTH_TEXT_H
#define HEARTH_TEXT_H

#include <stdint.h>

#include "hearth/export.h"

HEARTH_ABI_BEGIN

typedef struct hearth_text {
    const char* data; /* may be null when bytes is 0 */
    uint64_t bytes;
} hearth_text;

typedef struct hearth_range {
    uint64_t begin_byte, end_byte;
} hearth_range;

typedef struct hearth_document {
    hearth_text uri, language, text; /* language: LSP's language id, "cpp" */
    uint64_t cursor_byte;            /* at most text.bytes, on a character border */
} hearth_document;

typedef struct hearth_diagnostic {
    hearth_range range;
    uint32_t severity; /* 1 error, 2 warning, 3 information, 4 hint */
    hearth_text source, message;
} hearth_diagnostic;

typedef struct hearth_selection {
    hearth_range selection;
    const hearth_diagnostic* diagnostics; /* those that touch the selection */
    uint32_t diagnostic_count;
} hearth_selection;

HEARTH_ABI_END

#endif
