// Package hostmetrics samples the machine it runs on.
//
// # Words
//
//   - Sample: one look at the machine, which gives one health.Metric per quantity, all with the same time and host.
//   - Source: one place of the operating system that is asked: CPU times, load, memory, swap, disk, network.
//
// # Metrics
//
//	cpu_percent             %      busy time of all CPUs since the last sample; waiting for disks is not busy
//	load1, load5, load15           load averages
//	load1_per_core                 load1 divided by the number of logical CPUs
//	memory_percent          %      memory that is in use and not reclaimable
//	swap_percent            %      swap space in use; 0 on a machine without swap
//	disk_percent            %      of the root file system, as df shows it
//	network_receive_bytes   By/s   since the last sample, all interfaces but loopback
//	network_transmit_bytes  By/s   since the last sample, all interfaces but loopback
//
// # Guarantees
//
//   - A source that fails, as swap and load do in some containers, costs its own metrics and no other.
//   - Values are finite; percentages lie within 0 and 100 and rates are not negative, also when counters start again.
//
// # Caveats
//
//   - What is measured "since the last sample" is left out of a sample that follows the last one, or New, so soon that no
//     counter has moved on.
//   - In a container the numbers are mostly those of the host, because that is what the kernel shows there.
//   - Traffic through a bridge or tunnel is counted on each interface that it passes.
package hostmetrics
