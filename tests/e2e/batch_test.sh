#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# batch_test.sh BUILD_DIR: twelve tenants from one table, by tests/batch.sh; then what mistakes are told.
exec bash "$(dirname "$0")/../batch.sh" 12 "${1:?usage: $0 BUILD_DIR}"
