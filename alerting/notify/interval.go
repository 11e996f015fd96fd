package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

// TimeIntervals are times that routes name, such as nights and holidays; each name stands for all times of its list. They are
// Alertmanager's own, so they mean the same: minutes of a day, weekdays, days of a month (negative ones from its end), months, years, and
// the location that they are of, UTC if none is said.
type TimeIntervals map[string][]timeinterval.TimeInterval

// contains reports whether one of the named intervals is now.
func (all TimeIntervals) contains(name string, now time.Time) bool {
	return slices.ContainsFunc(all[name], func(i timeinterval.TimeInterval) bool { return i.ContainsTime(now.UTC()) })
}

// quiet names the intervals that keep a route quiet at that time: those to mute it that are now, or all those to have it active if none
// of them is.
func (all TimeIntervals) quiet(r *Route, now time.Time) []string {
	isNow := func(name string) bool { return all.contains(name, now) }
	if len(r.ActiveTimeIntervals) > 0 && !slices.ContainsFunc(r.ActiveTimeIntervals, isNow) {
		return r.ActiveTimeIntervals
	}
	var muting []string
	for _, name := range r.MuteTimeIntervals {
		if isNow(name) {
			muting = append(muting, name)
		}
	}
	return muting
}

// check returns what is wrong with the names in a tree of routes.
func (all TimeIntervals) check(root *node) (err error) {
	root.walk(func(n *node) {
		for _, name := range slices.Concat(n.MuteTimeIntervals, n.ActiveTimeIntervals) {
			switch _, known := all[name]; {
			case err != nil:
			case n == root:
				err = fmt.Errorf("the root route is for all alerts at all times: leave MuteTimeIntervals and ActiveTimeIntervals out")
			case !known:
				err = fmt.Errorf("route %s: there is no time interval %q: give it in TimeIntervals", n.id, name)
			}
		}
	})
	return err
}
