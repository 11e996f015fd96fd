package hostmetrics

import (
	"context"
	"errors"
	stdnet "net"
	"os"
	"runtime"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// sources are the questions to the operating system, apart so that each can fail on its own.
type sources struct {
	cpu     func(context.Context) (cpu.TimesStat, error)
	load    func(context.Context) (load.AvgStat, error)
	cores   func(context.Context) (int, error)
	memory  func(context.Context) (float64, error)
	swap    func(context.Context) (float64, error)
	disk    func(context.Context) (float64, error)
	traffic func(context.Context) (map[string]net.IOCountersStat, error) // by interface, without loopback
}

func systemSources() sources {
	return sources{
		cpu: func(ctx context.Context) (cpu.TimesStat, error) {
			times, err := cpu.TimesWithContext(ctx, false)
			if err != nil {
				return cpu.TimesStat{}, err
			}
			if len(times) == 0 {
				return cpu.TimesStat{}, errors.New("the system tells no CPU times")
			}
			return times[0], nil
		},
		load: func(ctx context.Context) (load.AvgStat, error) {
			avg, err := load.AvgWithContext(ctx)
			if err != nil {
				return load.AvgStat{}, err
			}
			return *avg, nil
		},
		cores: func(ctx context.Context) (int, error) { return cpu.CountsWithContext(ctx, true) },
		memory: func(ctx context.Context) (float64, error) {
			memory, err := mem.VirtualMemoryWithContext(ctx)
			if err != nil {
				return 0, err
			}
			return memory.UsedPercent, nil
		},
		swap: func(ctx context.Context) (float64, error) {
			swap, err := mem.SwapMemoryWithContext(ctx)
			if err != nil {
				return 0, err
			}
			if swap.Total == 0 {
				return 0, nil
			}
			return swap.UsedPercent, nil
		},
		disk: func(ctx context.Context) (float64, error) {
			usage, err := disk.UsageWithContext(ctx, rootPath())
			if err != nil {
				return 0, err
			}
			return usage.UsedPercent, nil
		},
		traffic: traffic,
	}
}

// rootPath is where the system itself lives.
func rootPath() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("SystemDrive") + `\`
	}
	return "/"
}

func traffic(ctx context.Context) (map[string]net.IOCountersStat, error) {
	counters, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	interfaces, err := stdnet.Interfaces()
	if err != nil {
		return nil, err
	}
	loopback := map[string]bool{}
	for _, i := range interfaces {
		loopback[i.Name] = i.Flags&stdnet.FlagLoopback != 0
	}
	out := make(map[string]net.IOCountersStat, len(counters))
	for _, c := range counters {
		if !loopback[c.Name] {
			out[c.Name] = c
		}
	}
	return out, nil
}
