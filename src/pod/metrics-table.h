/* SPDX-License-Identifier: Apache-2.0 */
/* metrics-table - every metric that there is: X(id, name, type, labels of its own, help). Before those come the labels
 * that all have: id, image, namespace, pod, container. Names are cAdvisor's, so that dashboards go on working. The CRI
 * carries whole numbers: what is called seconds loses its fractions. Private to pod/. */
#pragma once

#define METRICS(X)                                                                                                     \
        X(BLKIO_USAGE, "container_blkio_device_usage_total", COUNTER, "device,major,minor,operation",                  \
          "Bytes read from and written to block devices.")                                                             \
        X(CFS_PERIODS, "container_cpu_cfs_periods_total", COUNTER, "",                                                 \
          "Elapsed enforcement periods of the CPU quota.")                                                             \
        X(CFS_THROTTLED, "container_cpu_cfs_throttled_periods_total", COUNTER, "", "Periods that were throttled.")     \
        X(CFS_THROTTLED_TIME, "container_cpu_cfs_throttled_seconds_total", COUNTER, "",                                \
          "Time the container was throttled, in seconds.")                                                             \
        X(CPU_SYSTEM, "container_cpu_system_seconds_total", COUNTER, "", "CPU time spent in the kernel, in seconds.")  \
        X(CPU_USAGE, "container_cpu_usage_seconds_total", COUNTER, "cpu", "CPU time spent, in seconds.")               \
        X(CPU_USER, "container_cpu_user_seconds_total", COUNTER, "", "CPU time spent in user space, in seconds.")      \
        X(FILE_DESCRIPTORS, "container_file_descriptors", GAUGE, "", "Open file descriptors of all processes.")        \
        X(FS_INODES_FREE, "container_fs_inodes_free", GAUGE, "", "Free inodes of the layers' file system.")            \
        X(FS_INODES, "container_fs_inodes_total", GAUGE, "", "Inodes of the layers' file system.")                     \
        X(FS_LIMIT, "container_fs_limit_bytes", GAUGE, "", "Size of the layers' file system.")                         \
        X(FS_READ_BYTES, "container_fs_reads_bytes_total", COUNTER, "device", "Bytes read from block devices.")        \
        X(FS_READS, "container_fs_reads_total", COUNTER, "device", "Reads from block devices.")                        \
        X(FS_USAGE, "container_fs_usage_bytes", GAUGE, "",                                                             \
          "Bytes of the container's writable layer, when they were last measured (see the timestamp).")                \
        X(FS_WRITE_BYTES, "container_fs_writes_bytes_total", COUNTER, "device", "Bytes written to block devices.")     \
        X(FS_WRITES, "container_fs_writes_total", COUNTER, "device", "Writes to block devices.")                       \
        X(HUGETLB_MAX, "container_hugetlb_max_usage_bytes", GAUGE, "pagesize", "Most huge pages ever used, in bytes.") \
        X(HUGETLB_USAGE, "container_hugetlb_usage_bytes", GAUGE, "pagesize", "Huge pages in use, in bytes.")           \
        X(LAST_SEEN, "container_last_seen", GAUGE, "", "When the container was last seen, in seconds since 1970.")     \
        X(MEMORY_CACHE, "container_memory_cache", GAUGE, "", "Bytes of page cache.")                                   \
        X(MEMORY_FAILCNT, "container_memory_failcnt", COUNTER, "", "How often the memory limit stood in the way.")     \
        X(MEMORY_FAILURES, "container_memory_failures_total", COUNTER, "failure_type,scope", "Page faults.")           \
        X(MEMORY_KERNEL, "container_memory_kernel_usage", GAUGE, "", "Bytes of kernel memory.")                        \
        X(MEMORY_MAPPED, "container_memory_mapped_file", GAUGE, "", "Bytes of mapped files.")                          \
        X(MEMORY_MAX, "container_memory_max_usage_bytes", GAUGE, "", "Most memory ever used, in bytes.")               \
        X(MEMORY_RSS, "container_memory_rss", GAUGE, "", "Bytes of anonymous memory.")                                 \
        X(MEMORY_SWAP, "container_memory_swap", GAUGE, "", "Bytes swapped out.")                                       \
        X(MEMORY_USAGE, "container_memory_usage_bytes", GAUGE, "", "Memory in use, page cache included, in bytes.")    \
        X(MEMORY_WORKING_SET, "container_memory_working_set_bytes", GAUGE, "",                                         \
          "Memory in use without page cache that was not touched lately, in bytes.")                                   \
        X(NET_RX_BYTES, "container_network_receive_bytes_total", COUNTER, "interface", "Bytes received.")              \
        X(NET_RX_ERRORS, "container_network_receive_errors_total", COUNTER, "interface", "Errors while receiving.")    \
        X(NET_RX_DROPPED, "container_network_receive_packets_dropped_total", COUNTER, "interface",                     \
          "Packets dropped while receiving.")                                                                          \
        X(NET_RX_PACKETS, "container_network_receive_packets_total", COUNTER, "interface", "Packets received.")        \
        X(NET_TX_BYTES, "container_network_transmit_bytes_total", COUNTER, "interface", "Bytes sent.")                 \
        X(NET_TX_ERRORS, "container_network_transmit_errors_total", COUNTER, "interface", "Errors while sending.")     \
        X(NET_TX_DROPPED, "container_network_transmit_packets_dropped_total", COUNTER, "interface",                    \
          "Packets dropped while sending.")                                                                            \
        X(NET_TX_PACKETS, "container_network_transmit_packets_total", COUNTER, "interface", "Packets sent.")           \
        X(OOM_EVENTS, "container_oom_events_total", COUNTER, "", "Processes killed for lack of memory.")               \
        X(PSI_CPU_FULL, "container_pressure_cpu_stalled_seconds_total", COUNTER, "",                                   \
          "Time in which all tasks waited for a CPU, in seconds.")                                                     \
        X(PSI_CPU_SOME, "container_pressure_cpu_waiting_seconds_total", COUNTER, "",                                   \
          "Time in which some task waited for a CPU, in seconds.")                                                     \
        X(PSI_IO_FULL, "container_pressure_io_stalled_seconds_total", COUNTER, "",                                     \
          "Time in which all tasks waited for input or output, in seconds.")                                           \
        X(PSI_IO_SOME, "container_pressure_io_waiting_seconds_total", COUNTER, "",                                     \
          "Time in which some task waited for input or output, in seconds.")                                           \
        X(PSI_MEMORY_FULL, "container_pressure_memory_stalled_seconds_total", COUNTER, "",                             \
          "Time in which all tasks waited for memory, in seconds.")                                                    \
        X(PSI_MEMORY_SOME, "container_pressure_memory_waiting_seconds_total", COUNTER, "",                             \
          "Time in which some task waited for memory, in seconds.")                                                    \
        X(PROCESSES, "container_processes", GAUGE, "", "Processes.")                                                   \
        X(SOCKETS, "container_sockets", GAUGE, "", "Open sockets of all processes.")                                   \
        X(SPEC_CPU_PERIOD, "container_spec_cpu_period", GAUGE, "", "Period of the CPU quota, in microseconds.")        \
        X(SPEC_CPU_QUOTA, "container_spec_cpu_quota", GAUGE, "", "CPU quota of a period, in microseconds.")            \
        X(SPEC_CPU_SHARES, "container_spec_cpu_shares", GAUGE, "", "CPU shares.")                                      \
        X(SPEC_MEMORY_LIMIT, "container_spec_memory_limit_bytes", GAUGE, "", "Memory limit, 0: none.")                 \
        X(SPEC_MEMORY_RESERVATION, "container_spec_memory_reservation_limit_bytes", GAUGE, "",                         \
          "Memory that is kept for the container (v1: its soft limit), 0: none.")                                      \
        X(SPEC_SWAP_LIMIT, "container_spec_memory_swap_limit_bytes", GAUGE, "", "Limit of memory and swap, 0: none.")  \
        X(START_TIME, "container_start_time_seconds", GAUGE, "",                                                       \
          "When the container was started, in seconds since 1970.")                                                    \
        X(THREADS, "container_threads", GAUGE, "", "Threads.")                                                         \
        X(THREADS_MAX, "container_threads_max", GAUGE, "", "Most threads there may be, 0: no limit.")                  \
        X(ULIMITS_SOFT, "container_ulimits_soft", GAUGE, "ulimit", "Soft resource limits of the first process.")

enum metric {
#define ID(id, name, type, labels, help) METRIC_##id,
        METRICS(ID)
#undef ID
                METRIC_MAX,
};
