#!/bin/sh
# A Slurm of one node in a folder of its own, from Debian's packages slurm-wlm and munge, without accounting.
#
#   start.sh DIR         starts munged, slurmctld and slurmd; afterwards, SLURM_CONF=DIR/slurm.conf makes sbatch, squeue
#                        and scancel connect to them
#   start.sh stop DIR    ends them
#
# Needs root, as slurmd does. Exit code 3: the packages, or the right to use them, are missing.
set -eu

stop() {
    for name in slurmd slurmctld munged; do
        [ -s "$1/$name.pid" ] && kill "$(cat "$1/$name.pid")" 2>/dev/null || true
    done
}

if [ "$1" = stop ]; then
    stop "$2"
    exit 0
fi

for program in munged slurmctld slurmd sbatch squeue; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install slurm-wlm munge" >&2
        exit 3
    }
done
[ "$(id -u)" = 0 ] || {
    echo "slurmd needs root" >&2
    exit 3
}
PATH="$PATH:/usr/sbin:/sbin"
mkdir -p "$1" && chmod 755 "$1"
dir=$(cd "$1" && pwd)
node=$(hostname -s)
# Two ports of this folder's own, below those that the system hands out.
port=$((20000 + $$ % 10000))

dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2>/dev/null
chmod 600 "$dir/munge.key"
mkdir -p "$dir/state" "$dir/spool"

cat >"$dir/slurm.conf" <<CONF
ClusterName=reproduce
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=30
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

export SLURM_CONF="$dir/slurm.conf"
munged --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" --num-threads=2
slurmctld -c
slurmd

for _ in $(seq 100); do
    [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ] && exit 0
    sleep 0.2
done
echo "Slurm did not come up; its logs are in $dir" >&2
tail -n 20 "$dir"/*.log >&2
stop "$dir"
exit 1
