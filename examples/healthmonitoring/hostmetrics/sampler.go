package hostmetrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/net"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

// Units, in the spelling of UCUM that OpenTelemetry uses.
const (
	percent        = "%"
	bytesPerSecond = "By/s"
)

// ErrSource is in the chain of the error of each source that failed.
var ErrSource = errors.New("a source of host metrics failed")

// Sampler samples this machine. It remembers the counters of the last sample; it is not safe for concurrent use.
type Sampler struct {
	host    string
	from    sources
	cpu     cpu.TimesStat // zero: none yet
	traffic map[string]net.IOCountersStat
	at      time.Time // of traffic
}

// New returns a sampler for this machine and takes the first reading of its counters. The error says that the machine has
// no name, without which metrics meet no logs.
func New() (*Sampler, error) {
	host, err := os.Hostname()
	if err == nil && host == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("hostmetrics: the name of this machine is not known: %w: set one with hostname(1)", err)
	}
	s := &Sampler{host: host, from: systemSources()}
	// Readings that fail here fail again in Sample, which tells.
	ctx := context.Background()
	if times, err := s.from.cpu(ctx); err == nil {
		s.cpu = times
	}
	if traffic, err := s.from.traffic(ctx); err == nil {
		s.traffic, s.at = traffic, time.Now()
	}
	return s, nil
}

// Sample asks every source and returns what they gave as metrics of the time now. Sources that failed are joined in the
// error, each with ErrSource; the metrics of the others are valid all the same. now should move on by the interval between
// two samples, since rates are reckoned with it.
func (s *Sampler) Sample(ctx context.Context, now time.Time) ([]health.Metric, error) {
	out := sample{host: s.host, now: now, metrics: make([]health.Metric, 0, 10)}
	s.sampleCPU(ctx, &out)
	s.sampleLoad(ctx, &out)
	memory, err := s.from.memory(ctx)
	out.add("memory_percent", percent, memory, err)
	swap, err := s.from.swap(ctx)
	out.add("swap_percent", percent, swap, err)
	disk, err := s.from.disk(ctx)
	out.add("disk_percent", percent, disk, err)
	s.sampleTraffic(ctx, &out)
	return out.metrics, errors.Join(out.failed...)
}

// sample is the sample in the making.
type sample struct {
	host    string
	now     time.Time
	metrics []health.Metric
	failed  []error
}

func (s *sample) add(name, unit string, value float64, err error) {
	if err == nil && (math.IsNaN(value) || math.IsInf(value, 0)) {
		err = fmt.Errorf("the system says %v", value)
	}
	if err != nil {
		s.failed = append(s.failed, fmt.Errorf("%w: %s: %w", ErrSource, name, err))
		return
	}
	if unit == percent {
		value = min(max(value, 0), 100)
	}
	s.metrics = append(s.metrics, health.Metric{Host: s.host, Name: name, Value: value, Unit: unit, Time: s.now})
}

func (s *Sampler) sampleCPU(ctx context.Context, out *sample) {
	times, err := s.from.cpu(ctx)
	if err != nil {
		out.add("cpu_percent", percent, 0, err)
		return
	}
	before := s.cpu
	s.cpu = times
	all, idle := total(times)-total(before), waiting(times)-waiting(before)
	if before == (cpu.TimesStat{}) || all <= 0 {
		return // no time to measure over; or the counters started again
	}
	out.add("cpu_percent", percent, 100*(all-idle)/all, nil)
}

// total leaves out guest time, which the kernel has counted as user time already.
func total(t cpu.TimesStat) float64 {
	return t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
}

func waiting(t cpu.TimesStat) float64 { return t.Idle + t.Iowait }

func (s *Sampler) sampleLoad(ctx context.Context, out *sample) {
	avg, err := s.from.load(ctx)
	if err != nil {
		out.add("load", "", 0, err)
		return
	}
	out.add("load1", "", avg.Load1, nil)
	out.add("load5", "", avg.Load5, nil)
	out.add("load15", "", avg.Load15, nil)
	cores, err := s.from.cores(ctx)
	if err == nil && cores < 1 {
		err = fmt.Errorf("the system says it has %d CPUs", cores)
	}
	out.add("load1_per_core", "", avg.Load1/float64(max(cores, 1)), err)
}

func (s *Sampler) sampleTraffic(ctx context.Context, out *sample) {
	traffic, err := s.from.traffic(ctx)
	if err != nil {
		out.add("network", bytesPerSecond, 0, err)
		return
	}
	before, elapsed := s.traffic, out.now.Sub(s.at).Seconds()
	s.traffic, s.at = traffic, out.now
	if before == nil || elapsed <= 0 {
		return
	}
	var received, sent float64
	for name, after := range traffic {
		// An interface that came only now has no rate yet. One whose counters went back was made anew: its traffic before
		// that is not known, and must not hide that of the others.
		if last, known := before[name]; known && after.BytesRecv >= last.BytesRecv && after.BytesSent >= last.BytesSent {
			received += float64(after.BytesRecv - last.BytesRecv)
			sent += float64(after.BytesSent - last.BytesSent)
		}
	}
	out.add("network_receive_bytes", bytesPerSecond, received/elapsed, nil)
	out.add("network_transmit_bytes", bytesPerSecond, sent/elapsed, nil)
}
