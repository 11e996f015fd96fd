package alerting

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/rossby-streams/rossby/processor"
)

// history is what a rule's measure remembers of the samples, in one task.
type history struct {
	measure Measure
	points  *processor.Windowed[point]
	bases   *processor.KeyValue[baseline]
	slots   *processor.KeyValue[seasonSlot]
	// forget is how old samples may be, where the store keeps them for longer. Zero: as it does.
	forget time.Duration
}

func newHistory(c *processor.Context[Alarm], m Measure, every time.Duration) history {
	h := history{measure: m}
	switch {
	case m.windowed():
		h.points = processor.WindowStore[point](c, "samples", m.window+every)
	case m.kind == measureSeason:
		h.bases = processor.KeyValueStore[baseline](c, "baselines")
		h.slots = processor.KeyValueStore[seasonSlot](c, "slots")
	}
	return h
}

// value takes a sample and returns the measure at its time, or false if there is none.
func (h *history) value(key string, at time.Time, sample float64) (float64, bool, error) {
	if h.measure.kind == measureNone {
		return sample, true, nil
	}
	if math.IsNaN(sample) || math.IsInf(sample, 0) {
		return 0, false, fmt.Errorf("the value %v is not a finite number", sample)
	}
	if h.measure.kind == measureSeason {
		return h.learn(key, at, sample)
	}
	h.add(key, at, sample)
	value, ok := h.at(key, at)
	return value, ok, nil
}

// add keeps a sample of a windowed measure; the first of one time stays.
func (h *history) add(key string, at time.Time, sample float64) {
	if len(h.points.Rows(key, at, at)) == 0 {
		h.points.Add(key, at, point{At: at.UnixNano(), Value: sample})
	}
	if h.forget == 0 {
		return
	}
	var old []processor.RowID
	for id := range h.points.Range(key, time.Time{}, at.Add(-h.forget)) {
		old = append(old, id)
	}
	for _, id := range old {
		h.points.Remove(id)
	}
}

// at is the windowed measure at a time.
func (h *history) at(key string, at time.Time) (float64, bool) {
	return h.measure.of(h.points.Rows(key, at.Add(1-h.measure.window), at))
}

func (h *history) learn(key string, at time.Time, sample float64) (float64, bool, error) {
	slot, season := h.measure.season.slot(at)
	slotKey := key + "\x00" + strconv.FormatInt(slot, 10)
	base, _ := h.bases.Get(key)
	kept, _ := h.slots.Get(slotKey)
	value, ok := h.measure.season.learn(&base, &kept, season, sample)
	if !sane(&base, &kept) {
		return 0, false, fmt.Errorf("the value %v is too far from the baseline for a forecast", sample)
	}
	h.bases.Put(key, base)
	h.slots.Put(slotKey, kept)
	return value, ok, nil
}
