package hostmetrics

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func values(metrics []health.Metric) map[string]float64 {
	out := map[string]float64{}
	for _, m := range metrics {
		out[m.Name] = m.Value
	}
	return out
}

// TestThisMachine samples the real thing until the CPU counters have moved on.
func TestThisMachine(t *testing.T) {
	s, err := New()
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	units := map[string]string{"cpu_percent": "%", "load1": "", "load5": "", "load15": "", "load1_per_core": "", "memory_percent": "%",
		"swap_percent": "%", "disk_percent": "%", "network_receive_bytes": "By/s", "network_transmit_bytes": "By/s"}
	require.Eventually(t, func() bool {
		now := time.Now()
		metrics, err := s.Sample(t.Context(), now)
		if err != nil {
			require.ErrorIs(t, err, ErrSource, "a container may hide a source")
		}
		for _, m := range metrics {
			unit, known := units[m.Name]
			require.True(t, known, m.Name)
			require.Equal(t, unit, m.Unit)
			require.Equal(t, host, m.Host)
			require.Equal(t, now, m.Time)
			require.False(t, math.IsNaN(m.Value) || math.IsInf(m.Value, 0) || m.Value < 0)
		}
		got := values(metrics)
		require.Greater(t, got["memory_percent"], 0.0)
		require.Len(t, got, len(metrics), "a metric comes twice")
		_, hasCPU := got["cpu_percent"]
		return hasCPU && (err != nil || len(got) == len(units))
	}, 30*time.Second, 50*time.Millisecond)
}

// machine is a machine whose readings the test sets.
type machine struct {
	cpu     cpu.TimesStat
	load    load.AvgStat
	cores   int
	percent float64
	traffic map[string]net.IOCountersStat
	failing map[string]error
}

func (m *machine) sampler() *Sampler {
	percent := func(source string) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) { return m.percent, m.failing[source] }
	}
	return &Sampler{host: "web1", from: sources{
		cpu:    func(context.Context) (cpu.TimesStat, error) { return m.cpu, m.failing["cpu"] },
		load:   func(context.Context) (load.AvgStat, error) { return m.load, m.failing["load"] },
		cores:  func(context.Context) (int, error) { return m.cores, m.failing["cores"] },
		memory: percent("memory"), swap: percent("swap"), disk: percent("disk"),
		traffic: func(context.Context) (map[string]net.IOCountersStat, error) { return m.traffic, m.failing["traffic"] },
	}}
}

func newMachine() *machine {
	return &machine{
		cpu: cpu.TimesStat{User: 100, Idle: 900}, load: load.AvgStat{Load1: 3, Load5: 2, Load15: 1}, cores: 2, percent: 40,
		traffic: map[string]net.IOCountersStat{"eth0": {BytesRecv: 1000, BytesSent: 100}}, failing: map[string]error{},
	}
}

func TestRatesNeedTwoSamples(t *testing.T) {
	m := newMachine()
	s := m.sampler()
	first, err := s.Sample(t.Context(), noon)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"load1": 3, "load5": 2, "load15": 1, "load1_per_core": 1.5, "memory_percent": 40,
		"swap_percent": 40, "disk_percent": 40}, values(first))

	// 10 s of two CPUs: 12 s busy, of which 4 s as a guest, counted twice by the kernel; 3 s waiting for disks.
	m.cpu = cpu.TimesStat{User: 104, Guest: 4, System: 5, Irq: 1, Steal: 2, Idle: 905, Iowait: 3}
	m.traffic = map[string]net.IOCountersStat{"eth0": {BytesRecv: 6000, BytesSent: 150}, "eth1": {BytesRecv: 1 << 40, BytesSent: 1 << 40}}
	second, err := s.Sample(t.Context(), noon.Add(10*time.Second))
	require.NoError(t, err)
	got := values(second)
	require.InDelta(t, 60, got["cpu_percent"], 1e-9)
	require.Equal(t, 500.0, got["network_receive_bytes"], "an interface that came only now has no rate")
	require.Equal(t, 5.0, got["network_transmit_bytes"])

	// Counters start again; and the same moment once more has no rate.
	m.cpu = cpu.TimesStat{User: 1, Idle: 1}
	m.traffic = map[string]net.IOCountersStat{"eth0": {BytesRecv: 10, BytesSent: 10}, "eth1": {BytesRecv: 1<<40 + 70, BytesSent: 1 << 40}}
	third, err := s.Sample(t.Context(), noon.Add(20*time.Second))
	require.NoError(t, err)
	got = values(third)
	require.NotContains(t, got, "cpu_percent")
	require.Equal(t, 7.0, got["network_receive_bytes"])
	fourth, err := s.Sample(t.Context(), noon.Add(20*time.Second))
	require.NoError(t, err)
	require.Equal(t, values(first), values(fourth))
}

// TestEachSourceFailsAlone breaks every source in turn and looks at what is left.
func TestEachSourceFailsAlone(t *testing.T) {
	lost := map[string][]string{
		"cpu": {"cpu_percent"}, "load": {"load1", "load5", "load15", "load1_per_core"}, "cores": {"load1_per_core"},
		"memory": {"memory_percent"}, "swap": {"swap_percent"}, "disk": {"disk_percent"},
		"traffic": {"network_receive_bytes", "network_transmit_bytes"},
	}
	for source, names := range lost {
		m := newMachine()
		s := m.sampler()
		_, err := s.Sample(t.Context(), noon)
		require.NoError(t, err)
		m.cpu.User++
		broken := errors.New("permission denied")
		m.failing[source] = broken
		metrics, err := s.Sample(t.Context(), noon.Add(time.Second))
		require.ErrorIs(t, err, ErrSource)
		require.ErrorIs(t, err, broken)
		require.Len(t, metrics, 10-len(names), source)
		for _, name := range names {
			require.NotContains(t, values(metrics), name)
		}

		delete(m.failing, source)
		m.cpu.User++
		metrics, err = s.Sample(t.Context(), noon.Add(2*time.Second))
		require.NoError(t, err)
		require.Len(t, metrics, 10, "%s has recovered", source)
	}

	m := newMachine()
	for source := range lost {
		m.failing[source] = errors.New(source)
	}
	metrics, err := m.sampler().Sample(t.Context(), noon)
	require.Empty(t, metrics)
	for source := range lost {
		if source != "cores" { // not asked for without a load
			require.ErrorContains(t, err, source)
		}
	}
}

// TestNothingStrangeComesOut feeds arbitrary readings.
func TestNothingStrangeComesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		s := m.sampler()
		number := rapid.OneOf(rapid.Float64Range(-10, 1000), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 0}))
		now := noon
		for range 5 {
			m.cpu = cpu.TimesStat{User: number.Draw(t, "user"), Idle: number.Draw(t, "idle"), Iowait: number.Draw(t, "iowait"), Guest: number.Draw(t, "guest")}
			m.load.Load1, m.percent, m.cores = number.Draw(t, "load"), number.Draw(t, "percent"), rapid.IntRange(-1, 4).Draw(t, "cores")
			m.traffic = map[string]net.IOCountersStat{"eth0": {BytesRecv: rapid.Uint64().Draw(t, "received"), BytesSent: rapid.Uint64().Draw(t, "sent")}}
			now = now.Add(time.Duration(rapid.IntRange(-1, 3).Draw(t, "seconds")) * time.Second)
			metrics, _ := s.Sample(context.Background(), now)
			for _, metric := range metrics {
				require.False(t, math.IsNaN(metric.Value) || math.IsInf(metric.Value, 0), metric.Name)
				if metric.Unit == percent {
					require.True(t, metric.Value >= 0 && metric.Value <= 100, "%s %v", metric.Name, metric.Value)
				}
				if metric.Unit == bytesPerSecond {
					require.GreaterOrEqual(t, metric.Value, 0.0)
				}
			}
		}
	})
}
