/* SPDX-License-Identifier: Apache-2.0
 *
 * placeholder: lets CMake configure until this folder has its own sources. Delete it then.
 */
enum { PLACEHOLDER_CLIENT = 1 };
