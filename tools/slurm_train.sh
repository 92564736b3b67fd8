#!/usr/bin/env bash
# Train through Slurm.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# From the environment: GPUS (all, default 8), GPUS_PER_NODE (default 8 or GPUS if
# fewer), CPUS_PER_TASK (default 5), SRUN_ARGS (more arguments of srun), WARN (seconds
# before the time is up at which the run is to save and stop, default 120).
#
# A run that stops so (status 75) goes on: a batch job is requeued, and has to ask for
# the warning itself (#SBATCH --signal=USR1@120 --requeue); from a login node the next
# allocation is asked for. Then it resumes.
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
WARN=${WARN:-120}
TOOLS=$(cd "$(dirname "$0")" && pwd)

whole() {
    if ! [[ ${!1} =~ ^[1-9][0-9]*$ ]]; then
        echo "$0: error: $1=${!1} must be a whole number of 1 or more" >&2
        exit 2
    fi
}
whole GPUS
whole WARN
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
whole GPUS_PER_NODE

RESUME=()
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || RESUME=(--resume)
while true; do
    status=0
    # shellcheck disable=SC2086  # SRUN_ARGS is meant to be split
    PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" srun \
        --partition="$PARTITION" \
        --job-name="$JOB_NAME" \
        --gres="gpu:$GPUS_PER_NODE" \
        --ntasks="$GPUS" \
        --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        --signal="USR1@$WARN" \
        ${SRUN_ARGS:-} \
        ${PYTHON:-python} -u "$TOOLS/train.py" "$CONFIG" --launcher slurm "$@" \
        ${RESUME[@]+"${RESUME[@]}"} || status=$?
    [ "$status" = 75 ] || exit "$status"
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        scontrol requeue "$SLURM_JOB_ID"
        exit 75
    fi
    RESUME=(--resume)
done
