package notify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// TimeInterval is a set of moments by the calendar: those for which every field that is given has a range with the moment in it. The zero
// TimeInterval has all moments in it. The rules are those of Alertmanager's time_intervals.
type TimeInterval struct {
	// Times are times of day.
	Times []TimeRange
	// Weekdays are days of the week, 0 for Sunday to 6 for Saturday.
	Weekdays []InclusiveRange
	// DaysOfMonth are 1 to 31, or counted from the end of the month: -1 is its last day. Days that a month does not have are passed over.
	DaysOfMonth []InclusiveRange
	// Months are 1 to 12, Years those of the common era.
	Months, Years []InclusiveRange
	// Location is whose calendar and clock it is. Nil: UTC.
	Location *time.Location
}

// TimeRange is a part of each day, in minutes from midnight as clocks show them: from StartMinute until before EndMinute, which is 1440 for
// the end of the day. An hour that clocks skip is not there; one that they show twice counts twice.
type TimeRange struct {
	StartMinute, EndMinute int
}

// InclusiveRange goes from Begin to End, and both belong to it.
type InclusiveRange struct {
	Begin, End int
}

const minutesOfDay = 24 * 60

// Contains reports whether the moment is in the interval.
func (ti *TimeInterval) Contains(moment time.Time) bool {
	location := ti.Location
	if location == nil {
		location = time.UTC
	}
	t := moment.In(location)
	year, month, day := t.Date()
	return within(ti.Weekdays, int(t.Weekday())) && within(ti.Months, int(month)) && within(ti.Years, year) &&
		withinMonth(ti.DaysOfMonth, day, lastDay(year, month)) && withinDay(ti.Times, t.Hour()*60+t.Minute())
}

func within(ranges []InclusiveRange, value int) bool {
	return len(ranges) == 0 || slices.ContainsFunc(ranges, func(r InclusiveRange) bool { return r.Begin <= value && value <= r.End })
}

func withinDay(ranges []TimeRange, minute int) bool {
	return len(ranges) == 0 || slices.ContainsFunc(ranges, func(r TimeRange) bool { return r.StartMinute <= minute && minute < r.EndMinute })
}

func withinMonth(ranges []InclusiveRange, day, last int) bool {
	fromStart := func(d int) int {
		if d < 0 {
			return last + 1 + d
		}
		return d
	}
	return len(ranges) == 0 || slices.ContainsFunc(ranges, func(r InclusiveRange) bool { return fromStart(r.Begin) <= day && day <= fromStart(r.End) })
}

// lastDay is how many days a month has; a day 0 is the one before the first.
func lastDay(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// Validate returns what is wrong with the interval.
func (ti *TimeInterval) Validate() error {
	for _, r := range ti.Times {
		if r.StartMinute < 0 || r.EndMinute > minutesOfDay || r.StartMinute >= r.EndMinute {
			return fmt.Errorf("the time %s-%s is none: it starts before it ends, within one day; write two for one over midnight",
				clock(r.StartMinute), clock(r.EndMinute))
		}
	}
	for _, kind := range []struct {
		name        string
		ranges      []InclusiveRange
		least, most int
	}{{"weekday", ti.Weekdays, 0, 6}, {"month", ti.Months, 1, 12}, {"year", ti.Years, 1, 9999}} {
		for _, r := range kind.ranges {
			if r.Begin < kind.least || r.End > kind.most || r.Begin > r.End {
				return fmt.Errorf("the %s range %d:%d is none: both are %d to %d, the first not after the last; write two for one over the turn",
					kind.name, r.Begin, r.End, kind.least, kind.most)
			}
		}
	}
	for _, r := range ti.DaysOfMonth {
		if err := r.validateDays(); err != nil {
			return err
		}
	}
	return nil
}

// shortestMonth is what a range of days from both ends is held against: longer months may make sense of what it refuses, it may not.
const shortestMonth = 28

func (r InclusiveRange) validateDays() error {
	for _, day := range []int{r.Begin, r.End} {
		if day == 0 || day < -31 || day > 31 {
			return fmt.Errorf("the day of the month %d is none: days are 1 to 31, or -1 for the last to -31", day)
		}
	}
	if r.Begin < 0 && r.End > 0 {
		return fmt.Errorf("the days of the month %d:%d begin at the end: count both from the end", r.Begin, r.End)
	}
	begin, end := r.Begin, r.End
	if begin < 0 {
		begin += shortestMonth
	}
	if end < 0 {
		end += shortestMonth
	}
	if begin > end {
		return fmt.Errorf("the days of the month %d:%d end before they begin", r.Begin, r.End)
	}
	return nil
}

// clock writes a minute of the day as people do.
func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// checkIntervals finds what is wrong with time intervals and with the routes that name them.
func checkIntervals(intervals map[string][]TimeInterval, root *node) error {
	for _, name := range slices.Sorted(maps.Keys(intervals)) {
		if name == "" || len(intervals[name]) == 0 {
			return fmt.Errorf("the time interval %q needs a name and one range of times at least", name)
		}
		for i := range intervals[name] {
			if err := intervals[name][i].Validate(); err != nil {
				return fmt.Errorf("time interval %s: %w", name, err)
			}
		}
	}
	if len(root.MuteTimeIntervals)+len(root.ActiveTimeIntervals) > 0 {
		return errors.New("the root route is for all times: give time intervals to a route below it")
	}
	var err error
	root.walk(func(n *node) {
		for _, name := range slices.Concat(n.MuteTimeIntervals, n.ActiveTimeIntervals) {
			if _, ok := intervals[name]; !ok && err == nil {
				err = fmt.Errorf("route %s: there is no time interval %q: give it in TimeIntervals", n.id, name)
			}
		}
	})
	return err
}

// MutedByIntervals are the names of the time intervals for which a group is told of to nobody at that time: those of its route's
// ActiveTimeIntervals if it is in none of them, else those of its MuteTimeIntervals that it is in. Nil: none.
func (d *Dispatcher) MutedByIntervals(group string, now time.Time) []string {
	g, ok := d.groups[group]
	if !ok {
		return nil
	}
	n, ok := d.nodes[g.Route]
	if !ok {
		return nil
	}
	return d.mutedBy(n, now)
}

func (d *Dispatcher) mutedBy(n *node, now time.Time) []string {
	inside := func(name string) bool {
		return slices.ContainsFunc(d.cfg.TimeIntervals[name], func(ti TimeInterval) bool { return ti.Contains(now) })
	}
	if active := n.ActiveTimeIntervals; len(active) > 0 && !slices.ContainsFunc(active, inside) {
		return slices.Clone(active)
	}
	var muting []string
	for _, name := range n.MuteTimeIntervals {
		if inside(name) {
			muting = append(muting, name)
		}
	}
	return muting
}

// mutedEverywhere are the names of the time intervals that keep all routes of an alert from telling of it; nil: one of them would.
func (d *Dispatcher) mutedEverywhere(k *known, now time.Time) []string {
	var names []string
	for _, n := range d.root.match(k.Alert.Labels) {
		muting := d.mutedBy(n, now)
		if muting == nil {
			return nil
		}
		names = append(names, muting...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
