#!/usr/bin/env bash
# Test through Slurm.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
#
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in slurm_train.sh.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
shift 4
GPUS=${GPUS:-8}
TOOLS=$(cd "$(dirname "$0")" && pwd)

whole() {
    if ! [[ ${!1} =~ ^[1-9][0-9]*$ ]]; then
        echo "$0: error: $1=${!1} must be a whole number of 1 or more" >&2
        exit 2
    fi
}
whole GPUS
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
whole GPUS_PER_NODE

# shellcheck disable=SC2086  # SRUN_ARGS is meant to be split
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec srun \
    --partition="$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    ${PYTHON:-python} -u "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher slurm "$@"
