package rulesfile

import (
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// windowed are the measures that take a window and nothing else.
var windowed = map[string]func(time.Duration) alerting.Measure{
	"avg": alerting.Avg, "min": alerting.Min, "max": alerting.Max, "sum": alerting.Sum, "count": alerting.Count, "change": alerting.Change,
	"rate": alerting.Rate, "deviation": alerting.Deviation,
}

// measure reads {"fn": ..., "window": ...}.
func measure(n *document.Node) (alerting.Measure, error) {
	fields, err := n.Fields("fn", "window", "quantile", "season", "step", "alpha", "beta", "gamma", "min_deviation")
	if err != nil {
		return alerting.Measure{}, err
	}
	fn, ok := fields["fn"]
	if !ok {
		return alerting.Measure{}, n.Errorf(`there is no "fn": use avg, min, max, sum, count, quantile, change, rate, deviation or seasonal`)
	}
	name, err := fn.AsString()
	if err != nil {
		return alerting.Measure{}, err
	}
	switch make, known := windowed[name]; {
	case known:
		window, err := only(n, fields, "window")
		return make(window), err
	case name == "quantile":
		q, ok := fields["quantile"]
		if !ok {
			return alerting.Measure{}, n.Errorf(`there is no "quantile": give one from 0 to 1, such as 0.95`)
		}
		rank, err := q.AsNumber()
		if err != nil {
			return alerting.Measure{}, err
		}
		window, err := only(n, fields, "window", "quantile")
		return alerting.Quantile(rank, window), err
	case name == "seasonal":
		return seasonal(n, fields)
	}
	return alerting.Measure{}, fn.Errorf("%q is not known here: use avg, min, max, sum, count, quantile, change, rate, deviation or seasonal", name)
}

// only reads the window, and refuses fields that are not for this function.
func only(n *document.Node, fields map[string]*document.Node, known ...string) (time.Duration, error) {
	if _, err := n.Fields(append([]string{"fn"}, known...)...); err != nil {
		return 0, err
	}
	window, ok := fields["window"]
	if !ok {
		return 0, n.Errorf(`there is no "window": give one such as "5m"`)
	}
	return window.AsDuration()
}

func seasonal(n *document.Node, fields map[string]*document.Node) (alerting.Measure, error) {
	if window, ok := fields["window"]; ok {
		return alerting.Measure{}, window.Errorf(`a season has no window: give "season" and "step"`)
	}
	var s alerting.Season
	for name, to := range map[string]*time.Duration{"season": &s.Length, "step": &s.Step} {
		f, ok := fields[name]
		if !ok {
			return alerting.Measure{}, n.Errorf(`there is no %q: give "season" and "step", such as "24h" and "5m"`, name)
		}
		var err error
		if *to, err = f.AsDuration(); err != nil {
			return alerting.Measure{}, err
		}
	}
	for name, to := range map[string]*float64{"alpha": &s.Alpha, "beta": &s.Beta, "gamma": &s.Gamma, "min_deviation": &s.MinDeviation} {
		if f, ok := fields[name]; ok {
			var err error
			if *to, err = f.AsNumber(); err != nil {
				return alerting.Measure{}, err
			}
		}
	}
	return alerting.Seasonal(s), nil
}
