package cases

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Value is one place in a series.
type Value struct {
	// Missing says that there is no sample, Stale that there is the marker by which Prometheus ends a series.
	Missing, Stale bool
	// Number is the value of the sample.
	Number float64
}

// maxValues is how many places a series may have.
const maxValues = 100_000

// ParseValues reads a series in promtool's notation: numbers, _ for a missing sample, stale, a+bxn and a-bxn for a and n more
// that grow or fall by b, axn for a and n more, _xn for n missing ones, separated by spaces.
func ParseValues(text string) ([]Value, error) {
	var values []Value
	for _, word := range strings.Fields(text) {
		more, err := parseWord(word)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		if values = append(values, more...); len(values) > maxValues {
			return nil, fmt.Errorf("the series has more than %d values", maxValues)
		}
	}
	return values, nil
}

func parseWord(word string) ([]Value, error) {
	base, repeat, repeated := strings.Cut(word, "x")
	n := 0
	if repeated {
		var err error
		if n, err = strconv.Atoi(repeat); err != nil || n < 0 || n >= maxValues {
			return nil, fmt.Errorf("what follows x must be a number from 0 to %d", maxValues-1)
		}
	}
	switch base {
	case "_":
		if !repeated {
			n = 1
		}
		return repeatValue(Value{Missing: true}, n), nil
	case "stale":
		return repeatValue(Value{Stale: true}, n+1), nil
	}
	start, step, err := parseNumbers(base, repeated)
	if err != nil {
		return nil, err
	}
	values := make([]Value, n+1)
	for i := range values {
		values[i] = Value{Number: start + float64(i)*step}
	}
	return values, nil
}

func repeatValue(v Value, n int) []Value {
	values := make([]Value, n)
	for i := range values {
		values[i] = v
	}
	return values
}

// parseNumbers reads a, a+b or a-b.
func parseNumbers(text string, stepped bool) (start, step float64, err error) {
	if start, err = number(text); err == nil {
		return start, 0, nil
	}
	if stepped {
		for i := len(text) - 1; i > 0; i-- {
			if text[i] != '+' && text[i] != '-' || text[i-1] == 'e' || text[i-1] == 'E' {
				continue
			}
			if start, err = number(text[:i]); err == nil {
				step, err = number(text[i:])
				return start, step, err
			}
		}
	}
	return 0, 0, fmt.Errorf(`it is no value: write numbers, "_", "stale", "a+bxn", "a-bxn", "axn" or "_xn"`)
}

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is no finite number", text)
	}
	return v, nil
}
