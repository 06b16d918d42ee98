# shellcheck shell=bash
# Settings and helpers shared by build-image and run. Sourced, not executed.
#
# Environment (all optional):
#   VM_CACHE   where the image and its parts live   (default /var/cache/proxmox-lxcri-vm,
#              or ~/.cache/proxmox-lxcri-vm when not root)
#   VM_MEM     guest memory in MiB                  (default 2048)
#   VM_SMP     guest CPUs                           (default 2)
#   VM_DISK    size of the guest's root disk, sparse (default 8G)
#   VM_EXTRA_PACKAGES   more Debian packages for the guest (space separated)

if [ "$(id -u)" = 0 ]; then
	: "${VM_CACHE:=/var/cache/proxmox-lxcri-vm}"
else
	: "${VM_CACHE:=$HOME/.cache/proxmox-lxcri-vm}"
fi
: "${VM_MEM:=2048}" "${VM_SMP:=2}" "${VM_DISK:=8G}" "${VM_EXTRA_PACKAGES:=}"

# shellcheck disable=SC2034 # used by the scripts that source this
VM_SUITE=bookworm

say() { printf '[vm] %s\n' "$*" >&2; }
die() { say "error: $*"; exit 125; }

# need COMMAND=PACKAGE... : install the packages whose command is missing.
need() {
	local pair missing=()
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	[ "$(id -u)" = 0 ] || die "need root to install: ${missing[*]}"
	say "installing ${missing[*]}"
	if ! DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		"${missing[@]}" >/dev/null 2>&1; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
			"${missing[@]}" >/dev/null || die "cannot install ${missing[*]}"
	fi
}
