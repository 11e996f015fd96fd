package notifyfile

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting/internal/document"
	"github.com/rossby-streams/rossby/alerting/notify"
)

// readIntervals adds the time intervals of a list to those of the configuration.
func readIntervals(n *document.Node, cfg *notify.Config) error {
	items, err := n.AsList("objects")
	if err != nil {
		return err
	}
	if cfg.TimeIntervals == nil {
		cfg.TimeIntervals = make(map[string][]notify.TimeInterval, len(items))
	}
	for _, item := range items {
		fields, err := item.Fields("name", "time_intervals")
		if err != nil {
			return err
		}
		if fields["name"] == nil || fields["time_intervals"] == nil {
			return item.Errorf(`"name" and "time_intervals" must be there`)
		}
		name, err := fields["name"].AsString()
		if err != nil {
			return err
		}
		if _, ok := cfg.TimeIntervals[name]; ok || name == "" {
			return fields["name"].Errorf("%q is empty or another time interval has it: give each a name of its own", name)
		}
		var all []notify.TimeInterval
		if err := each(fields["time_intervals"], &all, interval); err != nil {
			return err
		}
		if len(all) == 0 {
			return fields["time_intervals"].Errorf("it has no interval: give one at least")
		}
		cfg.TimeIntervals[name] = all
	}
	return nil
}

func interval(n *document.Node) (ti notify.TimeInterval, err error) {
	fields, err := n.Fields("times", "weekdays", "days_of_month", "months", "years", "location")
	if err != nil {
		return ti, err
	}
	if f, ok := fields["times"]; ok {
		if err := ranges(f, &ti.Times, timeRange); err != nil {
			return ti, err
		}
	}
	for _, kind := range []struct {
		name  string
		to    *[]notify.InclusiveRange
		value func(string) (int, bool)
	}{
		{"weekdays", &ti.Weekdays, weekday}, {"days_of_month", &ti.DaysOfMonth, number}, {"months", &ti.Months, month}, {"years", &ti.Years, number},
	} {
		f, ok := fields[kind.name]
		if !ok {
			continue
		}
		read := func(n *document.Node) (notify.InclusiveRange, error) { return inclusiveRange(n, kind.name, kind.value) }
		if err := ranges(f, kind.to, read); err != nil {
			return ti, err
		}
		for i, r := range *kind.to {
			if err := checkRange(kind.name, r); err != nil {
				return ti, f.Items[i].Errorf("%v", err)
			}
		}
	}
	if f, ok := fields["location"]; ok {
		ti.Location, err = location(f)
	}
	return ti, err
}

// ranges reads a list that is not empty: Alertmanager takes an empty one for never, and leaving it out for always.
func ranges[T any](n *document.Node, to *[]T, read func(*document.Node) (T, error)) error {
	if err := each(n, to, read); err != nil {
		return err
	}
	if len(*to) == 0 {
		return n.Errorf("it is empty: give a range, or leave it out for all")
	}
	return nil
}

// checkRange asks notify about one range, so that the answer has its place.
func checkRange(name string, r notify.InclusiveRange) error {
	one := []notify.InclusiveRange{r}
	ti := map[string]notify.TimeInterval{"weekdays": {Weekdays: one}, "days_of_month": {DaysOfMonth: one}, "months": {Months: one}, "years": {Years: one}}[name]
	return ti.Validate()
}

var clockTime = regexp.MustCompile(`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`)

func timeRange(n *document.Node) (r notify.TimeRange, err error) {
	fields, err := n.Fields("start_time", "end_time")
	if err != nil {
		return r, err
	}
	for name, to := range map[string]*int{"start_time": &r.StartMinute, "end_time": &r.EndMinute} {
		f, ok := fields[name]
		if !ok {
			return r, n.Errorf(`"start_time" and "end_time" must be there`)
		}
		text, err := f.AsString()
		if err != nil {
			return r, err
		}
		if !clockTime.MatchString(text) {
			return r, f.Errorf(`%q is no time of day: write one such as "08:30", up to "24:00"`, text)
		}
		hour, _ := strconv.Atoi(text[:2]) // two digits, as the pattern has them
		minute, _ := strconv.Atoi(text[3:])
		*to = hour*60 + minute
	}
	ti := notify.TimeInterval{Times: []notify.TimeRange{r}}
	if err := ti.Validate(); err != nil {
		return r, n.Errorf("%v", err)
	}
	return r, nil
}

// inclusiveRange reads "a:b", or "a" for a range of one; a number need not be a text.
func inclusiveRange(n *document.Node, name string, value func(string) (int, bool)) (r notify.InclusiveRange, err error) {
	if n.Kind != document.String && n.Kind != document.Number {
		return r, n.Errorf("must be a string, not %s", n.Kind)
	}
	first, last, two := strings.Cut(n.Text, ":")
	if !two {
		last = first
	}
	begin, ok := value(first)
	end, ok2 := value(last)
	if !ok || !ok2 {
		return r, n.Errorf("%q is none of the %s: write one such as %s", n.Text, strings.ReplaceAll(name, "_", " "), examples[name])
	}
	return notify.InclusiveRange{Begin: begin, End: end}, nil
}

var examples = map[string]string{
	"weekdays": `"saturday" or "monday:friday"`, "days_of_month": `"1:5" or "-3:-1"`, "months": `"december" or "may:august" or "5:8"`, "years": `"2027" or "2027:2030"`,
}

func number(text string) (int, bool) {
	v, err := strconv.Atoi(text)
	return v, err == nil
}

func weekday(text string) (int, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(text, day.String()) {
			return int(day), true
		}
	}
	return 0, false
}

func month(text string) (int, bool) {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(text, m.String()) {
			return int(m), true
		}
	}
	return number(text)
}

func location(n *document.Node) (*time.Location, error) {
	name, err := n.AsString()
	if err != nil {
		return nil, err
	}
	found, err := time.LoadLocation(name)
	if err != nil {
		return nil, n.Errorf(`%v: write a name such as "Europe/Berlin", "UTC" or "Local"; this machine needs the time zone database, or the program package time/tzdata`, err)
	}
	return found, nil
}

// names reads a list of names.
func names(n *document.Node) (all []string, err error) {
	if n == nil {
		return nil, nil
	}
	err = each(n, &all, (*document.Node).AsString)
	return all, err
}
