/**
 * The exit codes of all commands. Scripts rely on them, so each has one meaning
 * everywhere; what it means for one command in particular, its help tells.
 */

/** Everything that was asked for is done. */
export const EXIT_OK = 0;

/** It was refused or it failed, and the same again would fare no better. */
export const EXIT_FAILED = 1;

/** The command line or the configuration is wrong. Nothing was tried. */
export const EXIT_USAGE = 2;

/** Something that is needed could not be reached or gave up. Trying again may help. */
export const EXIT_UNAVAILABLE = 3;
