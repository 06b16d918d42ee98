"""Which test notices that a field of a bundle is not applied.

FIELDS has, for each field of config.json, the tests of it. With `tests/integration/run --without-fields` each of them
runs on a runtime that never sees the field: it is taken out of the configuration when the bundle is written. A test that
passes all the same fails there.

A path is keys joined by dots; [] is every element of a list, [-1] the last, [key=value] those with it, =word an element
that is a word, =* all words but bind and rbind. What is taken away is the last part.
A test is its name, for all its parameters, or with [...] for those; FILE/test when
there are several of that name.
"""

import copy
import re

FIELDS = {
    'hostname': 'test_hostname_and_domainname',
    'domainname': 'test_domainname',
    'annotations': 'lifecycle/test_state hooks/test_state_on_standard_input',
    'root.readonly': 'test_readonly_root',
    'root.path': 'test_an_absolute_root',
    'process.args': 'test_args_env_and_cwd',
    'process.cwd': 'test_args_env_and_cwd',
    'process.env': 'test_args_env_and_cwd test_env_is_all_of_the_environment',
    'process.terminal': 'process/test_terminal',
    'process.consoleSize': 'process/test_terminal',
    'process.user.uid': 'test_user',
    'process.user.gid': 'test_user',
    'process.user.umask': 'test_umask',
    'process.user.additionalGids': 'test_user',
    'process.capabilities': 'test_the_capabilities_of_root',
    'process.capabilities.bounding': 'test_the_capabilities_of_root',
    'process.capabilities.permitted': 'test_the_capabilities_of_a_user',
    'process.capabilities.inheritable': 'test_the_capabilities_of_a_user',
    'process.capabilities.ambient': 'test_the_capabilities_of_a_user',
    'process.noNewPrivileges': 'test_no_new_privileges[True]',
    'process.oomScoreAdj': 'test_oom_score_adj',
    'process.rlimits': 'test_rlimits test_an_unlimited_rlimit',
    'process.scheduler': 'test_scheduler',
    'process.scheduler.nice': 'test_scheduler[batch] test_scheduler[other]',
    'process.scheduler.flags': 'test_scheduler[other]',
    'process.scheduler.priority': 'test_scheduler[fifo] test_scheduler[rr]',
    'process.scheduler.runtime': 'test_scheduler[deadline]',
    'process.scheduler.deadline': 'test_scheduler[deadline]',
    'process.scheduler.period': 'test_scheduler[deadline]',
    'process.ioPriority': 'test_io_priority',
    'process.ioPriority.priority': 'test_io_priority',
    'process.execCPUAffinity': 'test_cpu_affinity_of_an_exec',
    'process.execCPUAffinity.final': 'test_cpu_affinity_of_an_exec',
    'process.execCPUAffinity.initial': 'test_cpu_affinity_stays_as_it_was_at_first',
    'linux.namespaces[type=pid]': 'test_a_new_one[pid]',
    'linux.namespaces[type=network]': 'test_a_new_one[network]',
    'linux.namespaces[type=ipc]': 'test_a_new_one[ipc]',
    'linux.namespaces[type=uts]': 'test_a_new_one[uts]',
    'linux.namespaces[type=mount]': 'test_a_new_one[mount]',
    'linux.namespaces[type=user]': 'test_a_new_one[user]',
    'linux.namespaces[type=cgroup]': 'test_a_new_one[cgroup]',
    'linux.namespaces[type=time]': 'test_a_new_one[time]',
    'linux.namespaces[].path': 'test_joined_by_path',
    'linux.timeOffsets': 'test_time_offsets',
    'linux.timeOffsets.boottime': 'test_time_offsets',
    'linux.timeOffsets.boottime.nanosecs': 'test_time_offsets',
    'linux.timeOffsets.monotonic': 'test_time_offsets',
    'linux.uidMappings': 'test_mappings_of_ids test_several_mappings',
    'linux.gidMappings': 'test_mappings_of_ids test_several_mappings',
    'linux.devices': 'test_devices',
    'linux.devices[].fileMode': 'test_devices',
    'linux.devices[].uid': 'test_devices',
    'linux.devices[].gid': 'test_devices',
    'linux.cgroupsPath': 'test_create[memory.limit] test_a_group_that_was_there_is_joined',
    'linux.sysctl': 'test_sysctl',
    'linux.maskedPaths': 'test_masked_paths',
    'linux.readonlyPaths': 'test_readonly_paths',
    'linux.netDevices': 'test_net_devices',
    'linux.netDevices.octest0.name': 'test_net_devices',
    'linux.memoryPolicy': 'test_memory_policy',
    'linux.memoryPolicy.flags': 'test_memory_policy_flags',
    'linux.memoryPolicy.nodes': 'test_memory_policy[MPOL_BIND-2] test_memory_policy[MPOL_INTERLEAVE-3]',
    'linux.personality': 'test_personality',
    'linux.rootfsPropagation': 'test_rootfs_propagation[rshared-fields5] test_rootfs_propagation[unbindable-fields6] '
                               'test_a_bind_has_the_roots_propagation_unless_it_says[rprivate-None-fields0] '
                               'test_a_bind_has_the_roots_propagation_unless_it_says[rshared-None-fields2]',
    'linux.intelRdt': 'test_refused_by_name[linux.intelRdt]',
    'linux.mountLabel': 'test_refused_by_name[linux.mountLabel]',
    'process.selinuxLabel': 'test_refused_by_name[process.selinuxLabel]',
    'process.apparmorProfile': 'test_refused_by_name[process.apparmorProfile]',
    'linux.seccomp': 'test_actions test_errno test_arguments',
    'linux.seccomp.flags': 'test_log_flag[flags1] test_wait_killable_flag[flags1]',
    'linux.seccomp.architectures': 'test_architectures',
    'linux.seccomp.listenerMetadata': 'test_agent',
    'linux.seccomp.listenerPath': 'test_agent',
    'linux.seccomp.defaultErrnoRet': 'test_errno',
    'linux.seccomp.syscalls[].errnoRet': 'test_errno',
    'linux.seccomp.syscalls[].args': 'test_arguments',
    'linux.resources': 'test_all_at_once',
    'linux.resources.devices': 'mounts/test_device_rules test_device_access resources/test_device_rules[read] resources/test_device_rules[all]',
    'linux.resources.memory.swap': 'test_memory_and_swap_in_any_order',
    'linux.resources.cpu.burst': 'test_burst_goes_with_the_quota',
    'linux.resources.network': 'test_what_the_host_lacks_is_named',
    'linux.resources.rdma': 'test_what_the_host_lacks_is_named',
    'linux.resources.blockIO.leafWeight': 'test_what_the_host_lacks_is_named',
    'linux.resources.unified': 'test_unified test_unified_on_v1',
    'linux.resources.cpu.mems': 'test_what_the_kernel_refuses_is_named[mems]',
    'linux.resources.cpu.realtimeRuntime': 'test_what_the_kernel_refuses_is_named[runtime]',
    'linux.resources.blockIO.weightDevice': 'test_what_the_kernel_refuses_is_named[weight] '
                                            'test_what_the_kernel_refuses_is_named[leaf-weight]',
    'linux.resources.network.classID': 'test_what_the_host_lacks_is_named',
    'linux.resources.network.priorities': 'test_what_the_host_lacks_is_named',
    'linux.resources.devices[-1].access': 'resources/test_device_rules[read]',
    'linux.resources.devices[].major': 'mounts/test_device_rules',
    'linux.resources.devices[].minor': 'mounts/test_device_rules',
    'hooks.prestart': 'test_order',
    'hooks.createRuntime': 'test_order',
    'hooks.createContainer': 'test_order',
    'hooks.startContainer': 'test_order',
    'hooks.poststart': 'test_order',
    'hooks.poststop': 'test_order',
    'hooks.createRuntime[].timeout': 'test_timeout[createRuntime]',
    'hooks.createRuntime[].env': 'test_environment_and_arguments',
    'hooks.createRuntime[].args': 'test_environment_and_arguments',
    'mounts[-1]': 'test_sysfs_without_a_network_namespace test_bind_of_a_file test_bind_of_a_socket test_mounts_are_made_in_order test_tmpcopyup '
                  'test_cgroup_mount',
    'mounts[destination=/dev/mqueue]': 'test_mqueue_is_of_the_containers_ipc',
    'mounts[-1].options=*': ' '.join(f'mounts/test_flags[{kind}-{flag}]' for kind in ('bind', 'tmpfs') for flag in (
        'ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'nosymfollow')) +
                            ' test_relatime_of_a_bind test_flags_of_a_file_system test_recursive_attributes test_strictatime '
                            'test_recursive_attributes_taken_away test_the_last_of_two_opposites_holds '
                            'test_propagation_of_a_mount[private-fields0] test_propagation_of_a_mount[unbindable-fields6] '
                            'test_a_bind_has_the_roots_propagation_unless_it_says[rshared-slave-fields3] '
                            'test_a_bind_has_the_roots_propagation_unless_it_says[rslave-rshared-fields5] '
                            'test_a_bind_has_the_roots_propagation_unless_it_says[rprivate-shared-fields6]',
    'mounts[-1].options=ridmap': 'test_idmapped_mounts[ridmap-1000]',
    'mounts[-1].options=idmap=uids=0-7-1;gids=0-8-1': 'test_idmapped_mounts_by_an_option',
    'mounts[-1].options=tmpcopyup': 'test_tmpcopyup',
    'mounts[-1].options=copy-symlink': 'test_copy_symlink',
    'mounts[-1].options=noexec': 'test_noexec_and_nosymfollow_work',
    'mounts[-1].options=rbind': 'test_bind_and_rbind',
    'mounts[-1].uidMappings': 'test_idmapped_mounts',
    'mounts[-1].gidMappings': 'test_idmapped_mounts',
}


for _name in ('memory.limit', 'memory.reservation', 'memory.swappiness', 'memory.disableOOMKiller', 'cpu.shares', 'cpu.quota',
              'cpu.period', 'cpu.idle', 'cpu.realtimePeriod', 'cpu.cpus', 'pids.limit', 'blockIO.weight',
              'blockIO.throttleReadBpsDevice', 'blockIO.throttleWriteBpsDevice', 'blockIO.throttleReadIOPSDevice',
              'blockIO.throttleWriteIOPSDevice', 'hugepageLimits'):
    FIELDS[f'linux.resources.{_name}'] = f'test_create[{_name}]'

active = None  # the field that is taken out now


def _parts(field):
    """(words of a file's name or '', test with its parameters or without) for each of its tests."""
    return [re.fullmatch(r'(?:(\w+)/)?(.*)', test).groups('') for test in FIELDS[field].split()]


def fields_of(function):
    """The fields whose tests are this function, or some of its parameters."""
    return [field for field in FIELDS if function in {test.split('[')[0] for _, test in _parts(field)}]


def is_of(field, path, test):
    """Is it one of the field's tests?"""
    return any(file in path and (test == one or ('[' not in one and test.startswith(one + '['))) for file, one in _parts(field))


def _chosen(part, items):
    if part == '[]':
        return list(items)
    if part == '[-1]':
        return items[-1:]
    key, value = part[1:-1].split('=')
    return [item for item in items if item.get(key) == value]


def _take(node, part, *rest):
    if part.startswith('['):
        for item in _chosen(part, node):
            if rest:
                _take(item, *rest)
            else:
                node.remove(item)
    elif part.startswith('='):
        node[:] = [word for word in node if (word in ('bind', 'rbind') if part == '=*' else word != part[1:])]
    elif part in node:
        if rest:
            _take(node[part], *rest)
        else:
            del node[part]


def strip(config):
    """The configuration, without the field that is taken out now."""
    if not active:
        return config
    config = copy.deepcopy(config)
    _take(config, *re.findall(r'\[[^]]*\]|=[^.[]+|[^.[=]+', active))
    return config
