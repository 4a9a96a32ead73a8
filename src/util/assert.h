/*
 * ASSERT: a programmer's promise, checked in every build. It is never for what a user, the host
 * or a guest can cause; and its condition has no side effects.
 */
#pragma once

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))

/** Log which promise was broken and where, then abort. */
__attribute__((noreturn)) void assert_failed(const char *condition, const char *file, int line);
