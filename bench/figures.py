"""What was measured: times by runtime and operation, memory; tables and goals made of them."""

import os
import statistics
import time


class Series:
    """operation -> runtime -> values: ms, or ms of CPU time"""

    def __init__(self):
        self.values = {}

    def add(self, runtime, operation, ms):
        self.values.setdefault(operation, {}).setdefault(runtime, []).append(ms)

    def timed(self, runtime, operation, call):
        began = time.perf_counter()
        result = call()
        self.add(runtime, operation, (time.perf_counter() - began) * 1000)
        return result

    def median(self, runtime, operation):
        """None when it was not measured."""
        values = self.values.get(operation, {}).get(runtime)
        return statistics.median(values) if values else None

    def table(self, names):
        """Medians and minima; the ratio is the first runtime's median over the best of the others'."""
        width = max(len(operation) for operation in self.values) + 2
        lines = [f'{"ms: median (min)":<{width}}' + ''.join(f'{name:>19}' for name in names)
                 + ('   ratio' if len(names) > 1 else '')]
        for operation, by_runtime in self.values.items():
            line = f'{operation:<{width}}'
            for name in names:
                values = by_runtime.get(name)
                line += f'{statistics.median(values):>10.2f} ({min(values):6.2f})' if values else f'{"-":>19}'
            ours, others = self.median(names[0], operation), [
                m for m in (self.median(name, operation) for name in names[1:]) if m]
            if ours is not None and others:
                line += f'{ours / min(others):>8.2f}'
            lines.append(line)
        return '\n'.join(lines)


def pss_kib(pid):
    """Proportional set size; 0 when the process has gone."""
    try:
        with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('Pss:'))
    except (OSError, StopIteration):
        return 0


def helpers(directory, daemon):
    """PSS in KiB of what a runtime runs beside its daemon and the pods' own processes: {kind: [KiB]}. Their command lines
    carry @directory."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', encoding='utf-8', errors='replace') as f:
                line = f.read()
            with open(f'/proc/{pid}/comm', encoding='utf-8', errors='replace') as f:
                comm = f.read()
        except OSError:
            continue
        program = line.split('\0', maxsplit=1)[0]
        kind = next((k for k in ('keeper', 'conmon', 'shim') if k in program), None)
        if kind and directory in line and int(pid) != daemon:
            found.setdefault('monitor' if comm.startswith('mon-') else kind, []).append(pss_kib(pid))
    return found


def goals(series, pods, many):
    """[(what, measured, limit)]: what issue and README promise, as far as it was measured."""
    found = []

    def ratio(what, operation, peer, limit):
        ours, theirs = series.median('lxcri', operation), series.median(peer, operation)
        if ours is not None and theirs:
            found.append((f'{what}, over {peer}', ours / theirs, limit))
    for peer in ('containerd', 'crio', 'debian'):
        ratio('ExecSync', 'ExecSync true, in turn', peer, 0.25)
    for name in ('ListPodSandboxStats', 'ListContainerStats'):
        ratio(f'{name}, {pods} pods', f'{pods} pods: {name}', 'crio', 0.1)
    for name in ('ListContainers', 'ContainerStatus', 'PodSandboxStatus'):
        cpu = series.median('lxcri', f'{many} pods: {name}, CPU')
        if cpu is not None:
            found.append((f'{name}, {many} pods: ms of CPU', cpu, 1.0))
    return found


def print_goals(found):
    for what, measured, limit in found:
        print(f'{"met   " if measured <= limit else "MISSED"} {what}: {measured:.3f} (at most {limit:g})')
    return all(measured <= limit for _, measured, limit in found)
