/* A shared library that is no plugin. */
int hearth_no_entry(void);
int hearth_no_entry(void) {
    return 0;
}
