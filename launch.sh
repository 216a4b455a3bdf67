#!/usr/bin/env bash
# Set up and run any command; only Python >= 3.11 must be installed.
#
#   ./launch.sh                          list the commands
#   ./launch.sh pretrain [flags]         python -m experiments.pretrain [flags], in .venv
#   ./launch.sh test                     ruff, mypy and all tests, as CI runs them
#   ./launch.sh test [pytest arguments]  some tests
#
# Options, before the command:
#   --dry-run          only print the commands that would install and run
#   --restarts=N       start the command again, at most N times, after a crash or a lost process (not after exit codes 0, 2, 130, 143);
#                      with --slurm, also queue a job again whose step was killed, unless it was queued again N times
#   --slurm[=NODES]    submit the command with sbatch: one process per node; it saves a minute before the time limit and is queued again.
#                      Set sbatch's variables SBATCH_TIMELIMIT, SBATCH_PARTITION, SBATCH_GPUS_PER_NODE, ...
#
# The first call creates .venv (.venv-cuda13, .venv-tpu, ... with an accelerator) and installs requirements.txt; a later call creates it
# again only if requirements.txt or the Python has changed.  Relative paths start at this file's folder.
#
#   AESEG_PYTHON       Python to use; default: the first of python3.13, 3.12, 3.11, python3 that is new enough
#   AESEG_ACCELERATOR  cpu | cuda | cuda12 | cuda13 | tpu; default: detected by nvidia-smi and the TPU's devices
#   AESEG_TEST_WORKERS number of test processes; default: one per core, at most 4
#
# On several hosts, run the same line on each; jax.distributed finds the others:
#   SLURM      ./launch.sh --slurm=4 --restarts=3 pretrain --workdir=/shared/run
#              srun --nodes=4 --ntasks-per-node=1 ./launch.sh pretrain --workdir=/shared/run
#              ./launch.sh tables scenes --run --copies=8 --cluster="slurm timeout_min=240 gpus_per_node=1"   (sweep and compare, too)
#   TPU slice  gcloud compute tpus tpu-vm ssh NAME --worker=all --command="cd aeseg && ./launch.sh pretrain --workdir=/shared/run"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fail() {
  echo "launch.sh: $*" >&2
  exit 2
}

commands() { # list the commands: every file of experiments/ that can be run, and test
  grep -l '__main__' experiments/*.py | sed 's|experiments/||; s|\.py$||' | tr '\n' ' '
  echo test
}

described() { # print a line per command, from the first line of its file
  local command
  for command in $(commands); do
    if [[ "$command" == test ]]; then break; fi
    printf '  %-12s%s\n' "$command" "$(head -n 1 "experiments/$command.py" | tr -d '"')"
  done
  printf '  %-12s%s\n' test "Check format, types and tests; with arguments, run pytest only."
}

good_python() { "$1" -c 'import sys, venv, ensurepip, tomllib; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

say() { # print a command line as a shell reads it
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
  # Read the lines of all GPUs: "| head" would close nvidia-smi's pipe, and its failure would hide the GPUs.
  if driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null)" && [[ "$driver" =~ ^[0-9]+ ]]; then
    # CUDA 13 needs driver 580; jax[cuda12] needs 525.
    if ((BASH_REMATCH[0] >= 580)); then echo cuda13; else echo cuda12; fi
  elif [[ "${AESEG_ACCELERATOR:-}" == cuda ]]; then
    echo cuda13
  elif [[ -e /dev/accel0 || -n "${TPU_ACCELERATOR_TYPE:-}${TPU_WORKER_ID:-}" ]]; then
    echo tpu
  elif compgen -G '/dev/vfio/[0-9]*' >/dev/null && grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor; then
    echo tpu # vfio is not specific to TPUs; 0x1ae0 is Google's vendor id
  else
    echo cpu
  fi
}

extra() { # print the requirements of an extra of pyproject.toml, one per line
  "$python" -c 'import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
for requirement in project["optional-dependencies"].get(sys.argv[1], []):
    print(requirement)' "$1"
}

install() { # NAME PIP-ARGUMENTS: install into the environment, unless the same is already installed
  local stamp="$venv/installed-$1" wanted
  wanted="$("$python" --version) $accelerator $(cksum <requirements.txt) ${*:2}"
  if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then return; fi
  if [[ "$dry_run" ]]; then
    if [[ "$1" == aeseg ]]; then say "$python" -m venv "$venv"; fi
    say "$venv/bin/python" -m pip install --no-compile "${@:2}"
    return
  fi
  if [[ "$1" == aeseg ]]; then # the environment is missing, outdated or incomplete
    rm -rf "$venv"
    "$python" -m venv "$venv"
  fi
  echo "launch.sh: installing the packages of $1 into $venv; this takes minutes, once" >&2
  # Python compiles a module when it first imports it: pip would take minutes for all, of which most are never imported.
  "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "${@:2}" ||
    fail "pip could not install the packages of $1 (its message is above). Check the network and PIP_INDEX_URL, then run the same line again."
  echo "$wanted" >"$stamp"
}

set_up() { # EXTRA ...: create the environment, one process at a time; the others wait, then find it complete
  local requirements=(-r requirements.txt) extras name line
  if [[ ! "$dry_run" ]]; then
    mkdir -p .cache
    exec 9>".cache/${venv#.}.lock"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' # this shell keeps the lock until it closes 9
  fi
  if [[ "$accelerator" == cpu ]]; then
    while IFS= read -r line; do requirements+=("$line"); done < <(extra cpu)
  else
    requirements+=("jax[$accelerator]")
  fi
  install aeseg "${requirements[@]}"
  for name in "$@"; do
    extras=()
    while IFS= read -r line; do extras+=("$line"); done < <(extra "$name")
    if ((${#extras[@]})); then install "$name" -c requirements.txt "${extras[@]}"; fi
  done
  if [[ ! "$dry_run" ]]; then exec 9>&-; fi
}

submit() { # submit the command to SLURM; each node's launch.sh sets up and restarts its process
  local line again batch
  printf -v line '%q ' ./launch.sh "--restarts=$restarts" "$command" "$@"
  batch=(sbatch "--job-name=aeseg-$command" "--nodes=$nodes" --ntasks-per-node=1 --requeue --open-mode=append --signal=TERM@60)
  # 143: the run saved before the time limit.  Codes other than 0, 2 and 130: the step was killed, or its restarts are used up.
  # scancel also ends this shell, so nothing is queued again.
  again="case \$code in 0|2|130) false;; 143) ;; *) [ \${SLURM_RESTART_COUNT:-0} -lt $((10#$restarts)) ];; esac"
  batch+=("--wrap=srun --kill-on-bad-exit=0 $line|| { code=\$?; { $again; } && scontrol requeue \$SLURM_JOB_ID; exit \$code; }")
  if [[ "$dry_run" ]]; then
    say "${batch[@]}"
    exit 0
  fi
  type sbatch >/dev/null 2>&1 || fail "--slurm needs sbatch, which is not installed here. Run it on a login node of the cluster, or with --dry-run."
  exec "${batch[@]}"
}

restarted() { # run a command, and restart it after a crash or a lost process; pass signals on
  local left=$((10#$restarts)) code child
  while true; do
    "$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true' TERM
    trap 'kill -INT "$child" 2>/dev/null || true' INT
    code=0
    wait "$child" || code=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ended `wait`; the command is saving
      code=0
      wait "$child" || code=$?
    done
    case "$code" in 0 | 2 | 130 | 143) exit "$code" ;; esac
    if ((left == 0)); then exit "$code"; fi
    left=$((left - 1))
    echo "launch.sh: the command ended with $code and is restarted; $left restarts are left" >&2
  done
}

restarts=0 nodes=0 dry_run=""
while [[ "${1:-}" == --* && "$1" != --help ]]; do
  case "$1" in
    --dry-run) dry_run=yes ;;
    --slurm) nodes=1 ;;
    --slurm=*) nodes="${1#*=}" && [[ "$nodes" =~ ^[1-9][0-9]{0,4}$ ]] || fail "--slurm=NODES needs a number of nodes; got '${1#*=}'." ;;
    --restarts=*) restarts="${1#*=}" && [[ "$restarts" =~ ^[0-9]{1,4}$ ]] || fail "--restarts=N needs a number; got '${1#*=}'." ;;
    *) fail "unknown option '$1'. Options before the command: --dry-run, --restarts=N, --slurm=NODES." ;;
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
[[ " $(commands) " == *" $command "* ]] || fail "unknown command '$command'. The commands: $(commands)"
shift
if ((nodes)); then submit "$@"; fi

python="$(find_python)"
accelerator="$(find_accelerator)"
venv=".venv"
if [[ "$accelerator" != cpu ]]; then venv=".venv-$accelerator"; fi
extras=("$command")
if [[ " $*" == *" --cluster"* ]]; then extras+=(cluster); fi
set_up "${extras[@]}"

if [[ "$command" == test ]]; then
  if (($# == 0)) && [[ ! "$dry_run" ]]; then
    "$venv/bin/python" -m ruff check
    "$venv/bin/python" -m ruff format --check
    "$venv/bin/python" -m sphinx -W -q docs .cache/site & # sphinx and mypy each take half a minute on one core
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
