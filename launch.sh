#!/usr/bin/env bash
# Set up and run anything, with nothing installed but Python >= 3.11.
#
#   ./launch.sh                          the commands there are
#   ./launch.sh pretrain [flags]         python -m experiments.pretrain [flags], in .venv
#   ./launch.sh test                     ruff, mypy and all tests, as CI runs them
#   ./launch.sh test [pytest arguments]  some tests
#
# Options, before the command:
#   --dry-run          print what would be installed and run, and do neither
#   --restarts=N       start the command again, at most N times, after a crash or a lost process (not after exit codes 0, 2, 130, 143)
#   --slurm[=NODES]    hand the command to sbatch: one process for each node, saved a minute before the time limit, then queued again.
#                      SBATCH_TIMELIMIT, SBATCH_PARTITION, SBATCH_GPUS_PER_NODE, ... are sbatch's own variables
#
# The first call makes .venv (.venv-cuda13, .venv-tpu, ... beside an accelerator) and installs requirements.txt; a later call
# makes it again only when requirements.txt or the Python has changed.  Relative paths start at this file's folder.
#
#   AESEG_PYTHON       the Python to use; else the first of python3.13, 3.12, 3.11, python3 that is new enough
#   AESEG_ACCELERATOR  cpu | cuda | cuda12 | cuda13 | tpu; else found by nvidia-smi and the TPU's devices
#   AESEG_TEST_WORKERS processes that share the tests; else one for each core, at most 4
#
# Several hosts run the same line on each; jax.distributed finds the others by itself:
#   SLURM      ./launch.sh --slurm=4 --restarts=3 pretrain --workdir=/shared/run
#              srun --nodes=4 --ntasks-per-node=1 ./launch.sh pretrain --workdir=/shared/run
#   TPU slice  gcloud compute tpus tpu-vm ssh NAME --worker=all --command="cd aeseg && ./launch.sh pretrain --workdir=/shared/run"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fail() {
  echo "launch.sh: $*" >&2
  exit 2
}

commands() { # every file of experiments/ that can be run, and the tests
  grep -l '__main__' experiments/*.py | sed 's|experiments/||; s|\.py$||' | tr '\n' ' '
  echo test
}

described() { # a line for each command, from the first line of its file
  local command
  for command in $(commands); do
    if [[ "$command" == test ]]; then break; fi
    printf '  %-10s%s\n' "$command" "$(head -n 1 "experiments/$command.py" | tr -d '"')"
  done
  printf '  %-10s%s\n' test "Check format, types and tests; with arguments, run pytest only."
}

good_python() { "$1" -c 'import sys, venv, ensurepip, tomllib; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

say() { # a command line, as a shell reads it
  printf '%q ' "$@" | sed 's/ $//'
  echo
}

find_python() {
  if [[ -n "${AESEG_PYTHON:-}" ]]; then
    good_python "$AESEG_PYTHON" || fail "AESEG_PYTHON=$AESEG_PYTHON is not a Python >= 3.11 with venv; name one that is."
    echo "$AESEG_PYTHON"
    return
  fi
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if good_python "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "needs Python >= 3.11 with venv; found $(python3 --version 2>&1 || true)." \
    "Install one (apt install python3-venv, or https://www.python.org) or name it in AESEG_PYTHON."
}

find_accelerator() {
  local driver
  case "${AESEG_ACCELERATOR:-auto}" in
    cpu | tpu | cuda12 | cuda13) echo "$AESEG_ACCELERATOR" && return ;;
    auto | cuda) ;;
    *) fail "AESEG_ACCELERATOR is '$AESEG_ACCELERATOR'; it can be cpu, cuda, cuda12, cuda13 or tpu." ;;
  esac
  # A line for each GPU, read whole: "| head" would close the pipe on nvidia-smi, whose failure would then hide the GPUs.
  if driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null)" && [[ "$driver" =~ ^[0-9]+ ]]; then
    # CUDA 13 needs driver 580; jax[cuda12] runs on those from 525 on.
    if ((BASH_REMATCH[0] >= 580)); then echo cuda13; else echo cuda12; fi
  elif [[ "${AESEG_ACCELERATOR:-}" == cuda ]]; then
    echo cuda13
  elif [[ -e /dev/accel0 || -n "${TPU_ACCELERATOR_TYPE:-}${TPU_WORKER_ID:-}" ]]; then
    echo tpu
  elif compgen -G '/dev/vfio/[0-9]*' >/dev/null && grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor; then
    echo tpu # vfio alone may be anything; 0x1ae0 is Google
  else
    echo cpu
  fi
}

extra() { # what pyproject.toml lists under an extra, one requirement a line
  "$python" -c 'import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
for requirement in project["optional-dependencies"].get(sys.argv[1], []):
    print(requirement)' "$1"
}

install() { # NAME, then what pip shall install; does nothing where the same was installed before
  local stamp="$venv/installed-$1" wanted
  wanted="$("$python" --version) $accelerator $(cksum <requirements.txt) ${*:2}"
  if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then return; fi
  if [[ "$dry_run" ]]; then
    if [[ "$1" == aeseg ]]; then say "$python" -m venv "$venv"; fi
    say "$venv/bin/python" -m pip install "${@:2}"
    return
  fi
  if [[ "$1" == aeseg ]]; then # new, out of date, or left half made
    rm -rf "$venv"
    "$python" -m venv "$venv"
  fi
  echo "launch.sh: installing what $1 needs into $venv; this takes minutes, once" >&2
  # Python compiles what it imports; pip would compile all of torch.
  "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "${@:2}" ||
    fail "pip could not install what $1 needs (its message is above). Mend the network or PIP_INDEX_URL, then run the same line again."
  echo "$wanted" >"$stamp"
}

set_up() { # one process at a time; the others wait, then find everything made
  local requirements=(-r requirements.txt) extras=() line
  if [[ ! "$dry_run" ]]; then
    mkdir -p .cache
    exec 9>".cache/${venv#.}.lock"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' # the lock is this shell's until 9 is closed
  fi
  if [[ "$accelerator" != cpu ]]; then requirements+=("jax[$accelerator]"); fi
  install aeseg "${requirements[@]}"
  while IFS= read -r line; do extras+=("$line"); done < <(extra "$1")
  if ((${#extras[@]})); then install "$1" -c requirements.txt "${extras[@]}"; fi
  if [[ ! "$dry_run" ]]; then exec 9>&-; fi
}

submit() { # hand the command to SLURM; each node's launch.sh sets up and restarts its own process
  local line batch
  printf -v line '%q ' ./launch.sh "--restarts=$restarts" "$command" "$@"
  batch=(sbatch "--job-name=aeseg-$command" "--nodes=$nodes" --ntasks-per-node=1 --requeue --open-mode=append --signal=TERM@60)
  # 143: saved because the time ends.  scancel ends this shell, too, so that nothing is queued again.
  batch+=("--wrap=srun --kill-on-bad-exit=0 $line|| { code=\$?; [ \$code = 143 ] && scontrol requeue \$SLURM_JOB_ID; exit \$code; }")
  if [[ "$dry_run" ]]; then
    say "${batch[@]}"
    exit 0
  fi
  type sbatch >/dev/null 2>&1 || fail "--slurm needs sbatch; there is none here. Run it on a login node of the cluster, or with --dry-run."
  exec "${batch[@]}"
}

restarted() { # run a command, again after a crash or a lost process; signals are passed on
  local left=$((10#$restarts)) code child
  while true; do
    "$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true' TERM
    trap 'kill -INT "$child" 2>/dev/null || true' INT
    code=0
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ended `wait`, and the command saves
      code=0
      wait "$child" || code=$?
    done
    case "$code" in 0 | 2 | 130 | 143) exit "$code" ;; esac
    if ((left == 0)); then exit "$code"; fi
    left=$((left - 1))
    echo "launch.sh: the command ended with $code and is started again; $left restarts are left" >&2
  done
}

restarts=0 nodes=0 dry_run=""
while [[ "${1:-}" == --* && "$1" != --help ]]; do
  case "$1" in
    --dry-run) dry_run=yes ;;
    --slurm) nodes=1 ;;
    --slurm=*) nodes="${1#*=}" && [[ "$nodes" =~ ^[1-9][0-9]{0,4}$ ]] || fail "--slurm=NODES needs a number of nodes; got '${1#*=}'." ;;
    --restarts=*) restarts="${1#*=}" && [[ "$restarts" =~ ^[0-9]{1,4}$ ]] || fail "--restarts=N needs a number; got '${1#*=}'." ;;
    *) fail "there is no option '$1'. Options before the command: --dry-run, --restarts=N, --slurm=NODES." ;;
  esac
  shift
done
command="${1:-}"
if [[ -z "$command" || "$command" == -h || "$command" == --help ]]; then
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]##*/}"
  echo "Commands:"
  described
  exit 0
fi
[[ " $(commands) " == *" $command "* ]] || fail "there is no command '$command'. The commands: $(commands)"
shift
if ((nodes)); then submit "$@"; fi

python="$(find_python)"
accelerator="$(find_accelerator)"
venv=".venv"
if [[ "$accelerator" != cpu ]]; then venv=".venv-$accelerator"; fi
set_up "$command"

if [[ "$command" == test ]]; then
  if (($# == 0)) && [[ ! "$dry_run" ]]; then
    "$venv/bin/python" -m ruff check
    "$venv/bin/python" -m ruff format --check
    "$venv/bin/python" -m sphinx -W -q docs .cache/site & # each of the two takes one core, half a minute
    "$venv/bin/python" -m mypy || { wait; exit 1; }
    wait "$!"
  fi
  cores="$("$python" -c 'import os; print(min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), 4))')"
  if [[ "$dry_run" ]]; then
    say "$venv/bin/python" -m pytest -n "${AESEG_TEST_WORKERS:-$cores}" --dist loadscope "$@"
    exit 0
  fi
  exec "$venv/bin/python" -m pytest -n "${AESEG_TEST_WORKERS:-$cores}" --dist loadscope "$@"
fi
export AESEG_LAUNCHER="./launch.sh "
if [[ "$dry_run" ]]; then
  say "$venv/bin/python" -m "experiments.$command" "$@"
elif ((10#$restarts)); then
  restarted "$venv/bin/python" -m "experiments.$command" "$@"
else
  exec "$venv/bin/python" -m "experiments.$command" "$@"
fi
