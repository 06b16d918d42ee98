"""The kernel's own cost, measured by floor.c between the runtimes' turns."""

import os
import shutil
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
# ours -> the least it can cost
PAIRS = (('ExecSync true, in turn', 'exec of true in namespaces'),
         ('host: pod up', 'container of true, host network'))


class Floor:
    def __init__(self, directory):
        self.directory, self.program, self.found = directory, os.path.join(directory, 'floor'), {}
        self.rootfs = os.path.join(directory, 'rootfs')
        for name in ('bin', 'proc', 'dev'):
            os.makedirs(os.path.join(self.rootfs, name))
        shutil.copy2(shutil.which('busybox'), os.path.join(self.rootfs, 'bin'))
        os.symlink('busybox', os.path.join(self.rootfs, 'bin/true'))
        subprocess.run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-o', self.program, os.path.join(HERE, 'floor.c')],
                       check=True)

    def measure(self, times=50):
        work = os.path.join(self.directory, 'work')
        os.makedirs(work)
        text = subprocess.run(['unshare', '--mount', self.program, self.rootfs, work, str(times)], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        shutil.rmtree(work)
        for line in text.splitlines():
            name, least, median = line.split('\t')
            self.found.setdefault(name, []).append((float(least) / 1000, float(median) / 1000))

    def least(self, name):
        return min(least for least, _ in self.found[name])

    def median(self, name):
        return statistics.median(median for _, median in self.found[name])

    def table(self, series):
        """The floor, and how far above it we are."""
        lines = ['floor, ms: median (min)'] + [
            f'  {name:<36}{self.median(name):>8.2f} ({self.least(name):6.2f})' for name in self.found]
        for operation, name in PAIRS:
            ours = series.values.get(operation, {}).get('lxcri')
            if ours:
                lines.append(f'  {operation}: {statistics.median(ours) / self.median(name):.1f} times the floor; '
                             f'minimum {min(ours) / self.least(name):.1f} times, {min(ours) - self.least(name):.2f} ms above')
        return '\n'.join(lines)
