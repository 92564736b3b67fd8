#!/usr/bin/env bash
# Train through Slurm.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# From the environment: GPUS (all, default 8), GPUS_PER_NODE (default 8 or GPUS if
# fewer), CPUS_PER_TASK (default 5), SRUN_ARGS (more arguments of srun).
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
TOOLS=$(cd "$(dirname "$0")" && pwd)

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
    ${PYTHON:-python} -u "$TOOLS/train.py" "$CONFIG" --launcher slurm "$@"
