/* Marks the one symbol that a plugin exports, and C linkage for C++. Internal to these headers. */
#ifndef HEARTH_EXPORT_H
#define HEARTH_EXPORT_H

#ifdef __cplusplus
#define HEARTH_ABI_BEGIN extern "C" {
#define HEARTH_ABI_END }
#else
#define HEARTH_ABI_BEGIN
#define HEARTH_ABI_END
#endif

#define HEARTH_EXPORT __attribute__((visibility("default")))

#endif
