# shellcheck shell=bash
# stage.sh - the folder that goes to the guest, for the scripts that run tests there. Sourced, not executed.
#
# Only what the tests need goes over, and is copied there: sockets and overlays can't lie on 9p, and nothing that runs then
# waits for it.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(realpath "$here/../..")
stage=$(mktemp -d /var/tmp/lxcri-vm.XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage"/{build,programs,proto,tools}
protoc -I "$repo/src/proto" --python_out "$stage/proto" cri.proto admin.proto
cp -r "$repo/tests" "$repo/docs" "$stage/"
(cd "$repo" && cp --parents src/security/seccomp-words.h "$stage/") # a test reads it

stage_programs() {
	cp "${LXCRI_BUILD:-$repo/build}"/proxmox-lxcri{,d,-admin,-keeper,-init} "$stage/build/"
	(cd "${LXCRI_BUILD:-$repo/build}" && cp --parents src/init/proxmox-lxcri-sandbox.tar.gz "$stage/build/")
	# There is no compiler in the guest.
	PYTHONPATH=$repo/tests/lib PYTHONDONTWRITEBYTECODE=1 LXCRI_TEST_PROGRAMS=$stage/programs \
		/usr/bin/python3 -c 'import images, bundle; images.nonewprivs(); images.static_program(bundle.PROBE); images.bare_library(bundle.OTHER_WAIT)'
}

# stage_bytecode: of the tests, as pytest would make it where the guest has them; emulated it takes a minute.
stage_bytecode() {
	# shellcheck disable=SC2016 # the inner shell's own $0
	unshare --mount bash -ec '
		mount --bind "$0" /mnt
		mount -t tmpfs none /var/tmp
		mkdir /var/tmp/repo
		mount --bind /mnt /var/tmp/repo
		cd /var/tmp/repo
		LXCRI_TEST_TMP=none env -u PYTHONDONTWRITEBYTECODE /usr/bin/python3 -m pytest -p no:cacheprovider -q --collect-only \
			--rootdir tests/integration -c tests/integration/pytest.ini tests/integration >/dev/null
	' "$stage"
}

# stage_units NAME...: the programs of unit tests.
stage_units() {
	local name
	for name in "$@"; do cp "${LXCRI_BUILD:-$repo/build}/src/test-$name" "$stage/build/"; done
}

# stage_tools PROGRAM...: of those that come from the Go module proxy. Fails where they can't be had.
stage_tools() {
	local tools
	tools=$("$here/../tools/build-cri-tools") || return
	(cd "$tools" && cp registry-hosts "$@" "$stage/tools/")
}

# stage_images: critest's, in a registry's folder; emulated it would take minutes to make them.
stage_images() {
	mkdir "$stage/images"
	"$here/../critest/run" --images "$stage/images"
}

# stage_run [run's options] -- COMMAND...: runs COMMAND in the guest, in the repository's copy there. Tests have limits of their
# own; where the guest as a whole ends by run's, what it was at is shown, and another is tried once.
stage_run() {
	local options=() status try
	stage_bytecode
	while [ "$1" != -- ]; do options+=("$1"); shift; done
	shift
	cat >"$stage/guest" <<-'EOS'
		#!/bin/bash
		set -euo pipefail
		mkdir /var/tmp/repo
		cd /var/tmp/repo
		cp -a /mnt/host/* .
		export LXCRI_CRI_PYTHON=$PWD/proto LXCRI_CRI_TOOLS=$PWD/tools LXCRI_TEST_PROGRAMS=$PWD/programs
		export LXCRI_TEST_DISK=1 LXCRI_TEST_TIMEOUT=600 LXCRI_TEST_AGAIN=1 LXCRI_SLOW=10
		exec "$@"
	EOS
	chmod +x "$stage/guest"
	for try in first last; do
		status=0
		"$here/run" "${options[@]}" "$stage" -- ./guest "$@" || status=$?
		if [ "$status" != 124 ] || [ "$try" = last ]; then return "$status"; fi
		echo 'The guest hung; another one is tried.'
	done
}
