/*
 * An error that a person will read: a negative errno for the program and a sentence for the user.
 *
 * Whoever can tell most about a failure fills it with err_set() or err_sys(), both of which return
 * the code, so that failing is one line:
 *
 *	if (fd < 0)
 *		return err_sys(err, "open '%s'", path);
 *
 * Callers pass the code up unchanged and may put what they know in front with err_prefix(). The
 * structure lives in the caller and owns nothing.
 */
#pragma once

struct err {
	int code;       /**< negative errno, 0 while nothing failed */
	char text[512]; /**< the sentence, without a full stop or newline */
};

/**
 * Fill \p err with \p code and a formatted sentence.
 * \param err where to put it; NULL when nobody will read it
 * \param code negative errno
 * \param format printf format of the sentence
 * \return \p code
 */
__attribute__((format(printf, 3, 4))) int err_set(struct err *err, int code, const char *format,
						  ...);

/**
 * Fill \p err from errno: the sentence is followed by ": " and the system's text.
 * \param err where to put it; NULL when nobody will read it
 * \param format printf format of what was tried
 * \return -errno
 */
__attribute__((format(printf, 2, 3))) int err_sys(struct err *err, const char *format, ...);

/**
 * Put "\p format: " in front of the sentence.
 * \param err an error already filled, or NULL
 * \param format printf format of what was being done
 * \return the code of \p err, or 0 when \p err is NULL
 */
__attribute__((format(printf, 2, 3))) int err_prefix(struct err *err, const char *format, ...);
