package alerting

import (
	"math"
	"time"
)

// Latest are the latest samples of several series of one key, by the time of an evaluation. See Rule.Combine.
type Latest struct {
	series   map[string]point
	at       time.Time
	lookback time.Duration
}

// Get returns the latest value of a series, and false if it has none that is fresh.
func (l Latest) Get(series string) (float64, bool) {
	p, ok := l.series[series]
	if !ok || p.Gone || l.at.Sub(time.Unix(0, p.At)) >= l.lookback {
		return 0, false
	}
	return p.Value, true
}

// Ratio is a Combine: one series divided by another, no value while that is zero.
func Ratio(of, to string) func(Latest) (float64, bool) {
	return func(l Latest) (float64, bool) {
		numerator, ok1 := l.Get(of)
		denominator, ok2 := l.Get(to)
		return numerator / denominator, ok1 && ok2 && denominator != 0
	}
}

// staleBits are those of the NaN by which Prometheus marks the end of a series.
const staleBits = 0x7ff0000000000002

// StaleMarker returns the NaN by which Prometheus marks the end of a series: as the value of a sample it says that there is no data from
// now on. It is for rules with Every.
func StaleMarker() float64 { return math.Float64frombits(staleBits) }

func isStale(v float64) bool { return math.Float64bits(v) == staleBits }
