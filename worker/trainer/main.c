/* SPDX-License-Identifier: Apache-2.0
 *
 * placeholder: a program that does nothing yet; replace this file.
 */
int main(void)
{
    return 0;
}
