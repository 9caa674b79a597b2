// How loops over rows are compiled for several processors, and sums in a fixed order over 16 lanes.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
// Loops that are compiled into each of their callers, for the caller's processor.
#define INLINE inline __attribute__((always_inline))
