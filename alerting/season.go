package alerting

import (
	"fmt"
	"math"
	"time"
)

// Season is a baseline that repeats, such as a day: Holt-Winters forecasting with confidence bands as Brutlag has it (Aberrant Behavior
// Detection in Time Series for Network Monitoring, LISA 2000). See Seasonal.
type Season struct {
	// Length is how long the season is, Step the length of its slots: a sample belongs to the slot of its time. Required; Length must be a
	// multiple of Step, and of 2 to 2016 slots. A step is best the time between samples.
	Length, Step time.Duration
	// Alpha, Beta and Gamma say how fast the level, the trend and the seasonal part adapt, 0 to 1. Zero: 0.1, 0.0035 and 0.1, which are
	// those of RRDtool.
	Alpha, Beta, Gamma float64
	// MinDeviation is the least deviation that is believed in, in the unit of the samples: a calm season makes no alarm of noise. Zero:
	// none.
	MinDeviation float64
}

// Seasonal tells how far a sample is from the forecast of Season, in units of the deviation that is usual at that time of the
// season: positive above, negative below, at most 1e6. Brutlag's bands are 2 to 3 deviations wide: Above(3). It says nothing in the first two
// seasons, and nothing of a slot that it has not seen twice.
func Seasonal(s Season) Measure {
	if s.Alpha == 0 {
		s.Alpha = 0.1
	}
	if s.Beta == 0 {
		s.Beta = 0.0035
	}
	if s.Gamma == 0 {
		s.Gamma = 0.1
	}
	return Measure{kind: measureSeason, season: s}
}

const maxSlots = 2016 // a week of five minutes

func (s Season) validate() error {
	in := func(v float64) bool { return v > 0 && v <= 1 }
	switch {
	case s.Step <= 0 || s.Length%s.Step != 0 || s.Length/s.Step < 2 || s.Length/s.Step > maxSlots:
		return fmt.Errorf("a season must have 2 to %d steps of equal length, got %v of %v", maxSlots, s.Length, s.Step)
	case !in(s.Alpha) || !in(s.Beta) || !in(s.Gamma):
		return fmt.Errorf("the factors Alpha, Beta and Gamma must be more than 0 and at most 1, got %v, %v and %v", s.Alpha, s.Beta, s.Gamma)
	case !(s.MinDeviation >= 0) || math.IsInf(s.MinDeviation, 0):
		return fmt.Errorf("MinDeviation must be zero or more, got %v", s.MinDeviation)
	}
	return nil
}

// slot returns which slot of which season a time belongs to.
func (s Season) slot(at time.Time) (slot, season int64) {
	step, slots := int64(s.Step), int64(s.Length/s.Step)
	n := at.UnixNano() / step
	return n % slots, n / slots
}

// baseline is what is known of a series besides its slots.
type baseline struct {
	Level float64 `json:"a"`
	Trend float64 `json:"b"`
	// Error is the mean absolute error of the forecasts in the second season, of which there were Errors.
	Error  float64 `json:"e"`
	Errors int     `json:"n,omitzero"`
}

// season is what is known of one slot.
type seasonSlot struct {
	Value     float64 `json:"c"`
	Deviation float64 `json:"d"`
	Season    int64   `json:"s"` // the one of the last sample
	Seen      int     `json:"n"` // in how many seasons, at most 2
}

// learn takes a sample of a slot and returns the score of the sample, or false if it is too early for one.
//
// In its first season a slot takes the sample as it is, with the level at zero: additive Holt-Winters does not care which of the
// two a constant is in. In the second it is forecast, and what the forecasts miss by becomes the first deviation.
func (s Season) learn(b *baseline, c *seasonSlot, season int64, x float64) (float64, bool) {
	if c.Seen > 0 && c.Season == season {
		// A further sample of the same slot: judged, and nothing is learnt from it.
		return s.judge(b, c, x)
	}
	if c.Seen == 0 {
		*c = seasonSlot{Value: x - b.Level - b.Trend, Season: season, Seen: 1}
		return 0, false
	}
	forecast := b.Level + b.Trend + c.Value
	missed := math.Abs(x - forecast)
	value, ok := s.judge(b, c, x)
	if c.Seen == 1 {
		b.Errors++
		b.Error += (missed - b.Error) / float64(b.Errors)
		c.Deviation = b.Error
	} else {
		c.Deviation = s.Gamma*missed + (1-s.Gamma)*c.Deviation
	}
	level := s.Alpha*(x-c.Value) + (1-s.Alpha)*(b.Level+b.Trend)
	b.Trend = s.Beta*(level-b.Level) + (1-s.Beta)*b.Trend
	b.Level = level
	c.Value = s.Gamma*(x-level) + (1-s.Gamma)*c.Value
	c.Season, c.Seen = season, 2
	return value, ok
}

// sane says that nothing has outgrown what a float64 holds.
func sane(b *baseline, c *seasonSlot) bool {
	for _, v := range []float64{b.Level, b.Trend, b.Error, c.Value, c.Deviation} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// judge scores a sample by what has been learnt.
func (s Season) judge(b *baseline, c *seasonSlot, x float64) (float64, bool) {
	if c.Seen < 2 {
		return 0, false
	}
	return score(x-(b.Level+b.Trend+c.Value), max(c.Deviation, s.MinDeviation)), true
}
