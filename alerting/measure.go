package alerting

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Measure makes the value that a rule judges of the samples of a key. The zero Measure is the sample itself. Windows end with the
// evaluation and belong to it; what is as old as the window is long does not: (t-window, t].
type Measure struct {
	kind     measureKind
	window   time.Duration
	quantile float64
	season   Season
}

type measureKind int

const (
	measureNone measureKind = iota
	measureAvg
	measureMin
	measureMax
	measureSum
	measureCount
	measureQuantile
	measureChange
	measureRate
	measureDeviation
	measureSeason
)

// Avg is the mean of the samples in the window.
func Avg(window time.Duration) Measure { return Measure{kind: measureAvg, window: window} }

// Min is the least of the samples in the window.
func Min(window time.Duration) Measure { return Measure{kind: measureMin, window: window} }

// Max is the greatest of the samples in the window.
func Max(window time.Duration) Measure { return Measure{kind: measureMax, window: window} }

// Sum is the sum of the samples in the window.
func Sum(window time.Duration) Measure { return Measure{kind: measureSum, window: window} }

// Count is how many samples there are in the window.
func Count(window time.Duration) Measure { return Measure{kind: measureCount, window: window} }

// Quantile is the q-quantile, 0 to 1, of the samples in the window, interpolated between neighbours as quantile_over_time is.
func Quantile(q float64, window time.Duration) Measure {
	return Measure{kind: measureQuantile, window: window, quantile: q}
}

// Change is the change per second between the oldest and the newest sample in the window. It needs two samples.
func Change(window time.Duration) Measure { return Measure{kind: measureChange, window: window} }

// Rate is the increase per second of a counter between the oldest and the newest sample in the window; a counter that has fallen has
// started again from zero. It needs two samples and, unlike Prometheus' rate, does not extrapolate to the ends of the window.
func Rate(window time.Duration) Measure { return Measure{kind: measureRate, window: window} }

// Deviation tells how far a sample is from the samples before it in the window: the modified z-score of Iglewicz and Hoaglin (How to
// Detect and Handle Outliers, 1993), 0.6745 times the distance from the median by the median absolute deviation. They call 3.5 an
// outlier: Above(3.5). Where more than half of the samples are equal, the mean absolute deviation stands in, as 1.2533 times it. The score is
// positive above the median and negative below, at most 1e6. It needs ten samples.
func Deviation(window time.Duration) Measure { return Measure{kind: measureDeviation, window: window} }

// deviationSamples is how many samples Deviation needs before it says anything, maxScore what it says at most.
const (
	deviationSamples = 10
	maxScore         = 1e6
)

// point is a sample as it is kept.
type point struct {
	At    int64   `json:"t"` // nanoseconds
	Value float64 `json:"v"`
	// Gone says that the series has ended, with a stale marker.
	Gone bool `json:"x,omitzero"`
}

// Validate returns what is wrong with the measure.
func (m Measure) Validate() error {
	switch {
	case m.kind == measureNone:
		return nil
	case m.kind == measureSeason:
		return m.season.validate()
	case m.window <= 0:
		return fmt.Errorf("the window of a measure must be more than zero, got %v", m.window)
	case m.kind == measureQuantile && !(m.quantile >= 0 && m.quantile <= 1):
		return fmt.Errorf("a quantile must be from 0 to 1, got %v", m.quantile)
	}
	return nil
}

// windowed says that the measure needs the samples of a window.
func (m Measure) windowed() bool { return m.kind != measureNone && m.kind != measureSeason }

// of computes the measure of the samples in the window, by time, of which the last is the newest. It reports false if they are
// too few.
func (m Measure) of(points []point) (float64, bool) {
	if m.kind == measureCount {
		return float64(len(points)), true
	}
	if len(points) == 0 {
		return 0, false
	}
	switch m.kind {
	case measureAvg:
		return sum(points) / float64(len(points)), true
	case measureSum:
		return sum(points), true
	case measureMin:
		least := math.Inf(1)
		for _, p := range points {
			least = min(least, p.Value)
		}
		return least, true
	case measureMax:
		greatest := math.Inf(-1)
		for _, p := range points {
			greatest = max(greatest, p.Value)
		}
		return greatest, true
	case measureQuantile:
		return quantile(sorted(points), m.quantile), true
	case measureChange, measureRate:
		return perSecond(points, m.kind == measureRate)
	}
	return deviation(points)
}

func sum(points []point) float64 {
	total := 0.0
	for _, p := range points {
		total += p.Value
	}
	return total
}

func perSecond(points []point, counter bool) (float64, bool) {
	first, last := points[0], points[len(points)-1]
	if first.At == last.At {
		return 0, false
	}
	change := last.Value - first.Value
	if counter {
		for i := 1; i < len(points); i++ {
			if points[i].Value < points[i-1].Value { // it started again
				change += points[i-1].Value
			}
		}
	}
	return change / time.Duration(last.At-first.At).Seconds(), true
}

func sorted(points []point) []float64 {
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.Value
	}
	slices.Sort(values)
	return values
}

// quantile is Prometheus': linear between the two values around rank q*(n-1).
func quantile(values []float64, q float64) float64 {
	rank := q * float64(len(values)-1)
	below := math.Floor(rank)
	weight := rank - below
	low := values[int(below)]
	if weight == 0 {
		return low
	}
	return low*(1-weight) + values[int(below)+1]*weight
}

func deviation(points []point) (float64, bool) {
	before, last := points[:len(points)-1], points[len(points)-1].Value
	if len(before) < deviationSamples {
		return 0, false
	}
	values := sorted(before)
	median := quantile(values, 0.5)
	total := 0.0
	for i, v := range values {
		values[i] = math.Abs(v - median)
		total += values[i]
	}
	slices.Sort(values)
	unit := quantile(values, 0.5) / 0.6745
	if unit == 0 {
		unit = 1.253314 * total / float64(len(values))
	}
	return score(last-median, unit), true
}

// score is a distance in units, bounded.
func score(distance, unit float64) float64 {
	if distance == 0 {
		return 0
	}
	return max(-maxScore, min(maxScore, distance/unit))
}
