package alerting

import (
	"errors"
	"fmt"
	"math"
)

// Condition says when a value is a breach, and when it is over. Make one with Above or Below; the zero Condition is a mistake.
type Condition struct {
	threshold, clear float64
	direction        float64 // +1 above, -1 below, 0 none
}

// Above is breached by values greater than the threshold, and cleared by the others.
func Above(threshold float64) Condition {
	return Condition{threshold: threshold, clear: threshold, direction: 1}
}

// Below is breached by values less than the threshold, and cleared by the others.
func Below(threshold float64) Condition {
	return Condition{threshold: threshold, clear: threshold, direction: -1}
}

// ClearAt makes the condition clear only at that value or beyond it, on the calm side of the threshold: in between, an alarm stays
// what it is.
func (c Condition) ClearAt(value float64) Condition {
	c.clear = value
	return c
}

// Threshold returns the value beyond which the condition is breached.
func (c Condition) Threshold() float64 { return c.threshold }

// Breached reports whether value is a breach.
func (c Condition) Breached(value float64) bool { return (value-c.threshold)*c.direction > 0 }

// Cleared reports whether value ends a breach.
func (c Condition) Cleared(value float64) bool { return (value-c.clear)*c.direction <= 0 }

// Validate returns what is wrong with the condition.
func (c Condition) Validate() error {
	switch {
	case c.direction == 0:
		return errors.New("there is no condition: make one with Above or Below")
	case math.IsNaN(c.threshold) || math.IsInf(c.threshold, 0) || math.IsNaN(c.clear) || math.IsInf(c.clear, 0):
		return fmt.Errorf("threshold and clear value must be finite numbers, got %v and %v", c.threshold, c.clear)
	case (c.clear-c.threshold)*c.direction > 0:
		return fmt.Errorf("the clear value %v is on the wrong side of the threshold %v", c.clear, c.threshold)
	}
	return nil
}
