/* Whose interface it is that we speak: what clients parse to know what they may ask for. */
#pragma once

/** The version of Firecracker's API that is implemented; Kata Containers pins this one. */
#define FIRECRACKER_VERSION "1.12.1"
