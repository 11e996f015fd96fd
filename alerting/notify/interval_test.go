package notify_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/alerting/notify"
)

func span(begin, end int) []notify.InclusiveRange {
	return []notify.InclusiveRange{{Begin: begin, End: end}}
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	require.NoError(t, err)
	return location
}

// TestTimeIntervals: what the documentation of Alertmanager says of each field.
func TestTimeIntervals(t *testing.T) {
	sydney := zone(t, "Australia/Sydney")
	minutes := func(start, end int) []notify.TimeRange {
		return []notify.TimeRange{{StartMinute: start, EndMinute: end}}
	}
	for _, c := range []struct {
		name    string
		in      notify.TimeInterval
		yes, no []string
	}{
		{"nothing given", notify.TimeInterval{}, []string{"2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z"}, nil},
		{"the end of a time is not in it", notify.TimeInterval{Times: minutes(9*60, 17*60)},
			[]string{"2026-01-01T09:00:00Z", "2026-01-01T16:59:59.999Z"}, []string{"2026-01-01T08:59:59.999Z", "2026-01-01T17:00:00Z"}},
		{"24:00", notify.TimeInterval{Times: minutes(23*60, 1440)}, []string{"2026-01-01T23:59:59Z"}, []string{"2026-01-02T00:00:00Z", "2026-01-01T22:59:59Z"}},
		{"over midnight", notify.TimeInterval{Times: append(minutes(22*60, 1440), minutes(0, 6*60)...)},
			[]string{"2026-01-01T22:00:00Z", "2026-01-02T05:59:00Z"}, []string{"2026-01-02T06:00:00Z", "2026-01-01T12:00:00Z"}},
		{"working days", notify.TimeInterval{Weekdays: span(1, 5)}, []string{"2026-01-05T00:00:00Z", "2026-01-09T23:59:59Z"}, []string{"2026-01-04T23:59:59Z", "2026-01-10T00:00:00Z"}},
		{"Sunday is the first", notify.TimeInterval{Weekdays: span(0, 0)}, []string{"2026-01-04T12:00:00Z"}, []string{"2026-01-10T12:00:00Z"}},
		{"the last days of a month", notify.TimeInterval{DaysOfMonth: span(-3, -1)},
			[]string{"2026-02-26T00:00:00Z", "2024-02-29T00:00:00Z", "2026-01-31T00:00:00Z"}, []string{"2026-02-25T23:59:00Z", "2024-02-26T00:00:00Z", "2026-03-01T00:00:00Z"}},
		{"from a day to the end", notify.TimeInterval{DaysOfMonth: span(27, -1)}, []string{"2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"}, []string{"2026-02-26T00:00:00Z", "2026-03-01T00:00:00Z"}},
		{"days that the month does not have", notify.TimeInterval{DaysOfMonth: span(-31, -29)}, []string{"2026-01-01T00:00:00Z", "2024-02-01T00:00:00Z"}, []string{"2026-02-01T00:00:00Z"}},
		{"a day that is not there", notify.TimeInterval{DaysOfMonth: span(31, 31)}, []string{"2026-01-31T00:00:00Z"}, []string{"2026-04-30T00:00:00Z"}},
		{"months and years", notify.TimeInterval{Months: append(span(5, 8), span(12, 12)...), Years: span(2024, 2025)},
			[]string{"2024-05-01T00:00:00Z", "2025-12-31T00:00:00Z"}, []string{"2024-04-30T00:00:00Z", "2024-09-01T00:00:00Z", "2026-05-01T00:00:00Z", "2023-12-31T00:00:00Z"}},
		{"every field", notify.TimeInterval{Times: minutes(0, 60), Weekdays: span(5, 5), DaysOfMonth: span(13, 13)},
			[]string{"2026-02-13T00:30:00Z"}, []string{"2026-02-13T01:30:00Z", "2026-02-14T00:30:00Z", "2026-01-13T00:30:00Z"}},
		{"somewhere else it is another day", notify.TimeInterval{Times: minutes(9*60, 17*60), Weekdays: span(1, 5), Location: sydney},
			[]string{"2026-01-04T22:00:00Z", "2026-07-05T23:00:00Z"}, []string{"2026-01-04T21:59:00Z", "2026-07-05T22:59:00Z", "2026-01-09T22:00:00Z"}},
		{"the zone of the moment does not matter", notify.TimeInterval{Times: minutes(0, 60)}, []string{"2026-01-01T02:30:00+02:00"}, []string{"2026-01-01T00:30:00+02:00"}},
	} {
		require.NoError(t, c.in.Validate(), c.name)
		for want, moments := range map[bool][]string{true: c.yes, false: c.no} {
			for _, text := range moments {
				moment, err := time.Parse(time.RFC3339Nano, text)
				require.NoError(t, err)
				require.Equal(t, want, c.in.Contains(moment), "%s: %s", c.name, text)
			}
		}
	}
}

// TestClocksThatAreChanged: an hour that is skipped is not there, one that is shown twice counts twice, and a month keeps its days.
func TestClocksThatAreChanged(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	night := notify.TimeInterval{Times: []notify.TimeRange{{StartMinute: 2 * 60, EndMinute: 3 * 60}}, Location: berlin}
	count := func(ti notify.TimeInterval, year int, month time.Month, day int) (minutes int) {
		start := time.Date(year, month, day, 0, 0, 0, 0, berlin)
		for m := start; m.Before(start.AddDate(0, 0, 1)); m = m.Add(time.Minute) {
			if ti.Contains(m) {
				minutes++
			}
		}
		return minutes
	}
	require.Equal(t, 60, count(night, 2026, time.March, 28))
	require.Equal(t, 0, count(night, 2026, time.March, 29))
	require.Equal(t, 120, count(night, 2026, time.October, 25))
	day := notify.TimeInterval{Times: []notify.TimeRange{{EndMinute: 1440}}, Location: berlin}
	require.Equal(t, 23*60, count(day, 2026, time.March, 29))
	require.Equal(t, 25*60, count(day, 2026, time.October, 25))
	last := notify.TimeInterval{DaysOfMonth: span(-1, -1), Location: berlin} // March has 743 hours there, and 31 days
	require.Equal(t, 24*60, count(last, 2026, time.March, 31))
	require.Equal(t, 0, count(last, 2026, time.March, 30))
}

// calendar counts minutes, days, months and years by itself.
type calendar struct{ minute, weekday, day, month, year int }

func (c *calendar) days() []int {
	n := []int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[c.month-1]
	if c.month == 2 && c.year%4 == 0 && (c.year%100 != 0 || c.year%400 == 0) {
		n = 29
	}
	days := make([]int, n)
	for i := range days {
		days[i] = i + 1
	}
	return days
}

func (c *calendar) next() {
	if c.minute++; c.minute < 1440 {
		return
	}
	c.minute, c.weekday = 0, (c.weekday+1)%7
	if c.day++; c.day <= len(c.days()) {
		return
	}
	if c.day, c.month = 1, c.month+1; c.month > 12 {
		c.month, c.year = 1, c.year+1
	}
}

// among reports whether a value is one of those that ranges list: an empty list of ranges has all.
func among(ranges []notify.InclusiveRange, value int) bool {
	var listed []int
	for _, r := range ranges {
		for v := r.Begin; v <= r.End; v++ {
			listed = append(listed, v)
		}
	}
	return len(ranges) == 0 || slices.Contains(listed, value)
}

// has is a slow and plain Contains.
func (c *calendar) has(ti *notify.TimeInterval) bool {
	days := c.days()
	inMonth := len(ti.DaysOfMonth) == 0
	for _, r := range ti.DaysOfMonth {
		on := false
		for i, day := range days { // begins and ends at a day or at its place from the end, or before the month
			fromEnd := i - len(days)
			on = on || day == r.Begin || fromEnd == r.Begin || i == 0 && r.Begin < -len(days)
			if day == c.day && on && (r.End > 0 && day <= r.End || r.End < 0 && fromEnd <= r.End) {
				inMonth = true
			}
		}
	}
	inDay := len(ti.Times) == 0
	for _, r := range ti.Times {
		for m := r.StartMinute; m < r.EndMinute; m++ {
			inDay = inDay || m == c.minute
		}
	}
	return inMonth && inDay && among(ti.Weekdays, c.weekday) && among(ti.Months, c.month) && among(ti.Years, c.year)
}

// TestTimeIntervalsByTheMinute holds intervals against a calendar that counts for itself, from 2023-12-25, a Monday, on.
func TestTimeIntervalsByTheMinute(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ranges := func(name string, least, most int) []notify.InclusiveRange {
			return rapid.SliceOfN(rapid.Custom(func(r *rapid.T) notify.InclusiveRange {
				begin := rapid.IntRange(least, most-1).Draw(r, "begin")
				return notify.InclusiveRange{Begin: begin, End: rapid.IntRange(begin+1, most).Draw(r, "end")}
			}), 0, 2).Draw(r, name)
		}
		days := rapid.Custom(func(r *rapid.T) notify.InclusiveRange {
			day := rapid.IntRange(-31, 31)
			return notify.InclusiveRange{Begin: day.Draw(r, "begin"), End: day.Draw(r, "end")}
		}).Filter(func(days notify.InclusiveRange) bool {
			return (&notify.TimeInterval{DaysOfMonth: []notify.InclusiveRange{days}}).Validate() == nil
		})
		ti := notify.TimeInterval{
			Weekdays: ranges("weekdays", 0, 6), DaysOfMonth: rapid.SliceOfN(days, 0, 2).Draw(r, "days"),
			Months: ranges("months", 1, 4), Years: ranges("years", 2022, 2025),
		}
		for _, minutes := range ranges("times", 0, 1440) {
			ti.Times = append(ti.Times, notify.TimeRange{StartMinute: minutes.Begin, EndMinute: minutes.End})
		}
		require.NoError(r, ti.Validate())
		step := rapid.IntRange(1, 300).Draw(r, "step")
		c := calendar{weekday: 1, day: 25, month: 12, year: 2023}
		moment := time.Date(2023, 12, 25, 0, 0, 0, 0, time.UTC)
		for i := range 75 * 1440 {
			if i%step == 0 && c.has(&ti) != ti.Contains(moment) {
				r.Fatalf("%+v: %s: want %v", ti, moment, c.has(&ti))
			}
			c.next()
			moment = moment.Add(time.Minute)
		}
	})
}

func TestMistakesOfTimeIntervals(t *testing.T) {
	for want, ti := range map[string]notify.TimeInterval{
		"the time 17:00-09:00 is none":          {Times: []notify.TimeRange{{StartMinute: 17 * 60, EndMinute: 9 * 60}}},
		"the time 24:00-24:00 is none":          {Times: []notify.TimeRange{{StartMinute: 1440, EndMinute: 1440}}},
		"the time 00:00-24:01 is none":          {Times: []notify.TimeRange{{EndMinute: 1441}}},
		"the weekday range 5:1 is none":         {Weekdays: span(5, 1)},
		"the weekday range 6:7 is none":         {Weekdays: span(6, 7)},
		"the month range 0:1 is none":           {Months: span(0, 1)},
		"the year range 2025:2024":              {Years: span(2025, 2024)},
		"the day of the month 0 is none":        {DaysOfMonth: span(0, 1)},
		"the day of the month 32 is none":       {DaysOfMonth: span(1, 32)},
		"1 begin at the end: count both":        {DaysOfMonth: span(-1, 1)},
		"the day of the month -32 is none":      {DaysOfMonth: span(-32, -1)},
		"days of the month 30:-28 end before":   {DaysOfMonth: span(30, -28)},
		"days of the month -1:-2 end before th": {DaysOfMonth: span(-1, -2)},
	} {
		require.ErrorContains(t, ti.Validate(), want)
		_, err := notify.New(notify.Config{
			Route: notify.Route{Receiver: "ops"}, Receivers: []notify.Receiver{{Name: "ops"}},
			TimeIntervals: map[string][]notify.TimeInterval{"night": {ti}},
		})
		require.ErrorContains(t, err, "time interval night: ")
	}
	ops := []notify.Receiver{{Name: "ops"}}
	always := map[string][]notify.TimeInterval{"always": {{}}}
	for want, cfg := range map[string]notify.Config{
		"the root route is for all times": {Route: notify.Route{Receiver: "ops", ActiveTimeIntervals: []string{"always"}}, TimeIntervals: always},
		`no time interval "never"`: {Route: notify.Route{Receiver: "ops", Routes: []notify.Route{
			{Routes: []notify.Route{{MuteTimeIntervals: []string{"always", "never"}}}},
		}}, TimeIntervals: always},
		`the time interval "x" needs`: {Route: notify.Route{Receiver: "ops"}, TimeIntervals: map[string][]notify.TimeInterval{"x": nil}},
		`the time interval "" needs`:  {Route: notify.Route{Receiver: "ops"}, TimeIntervals: map[string][]notify.TimeInterval{"": {{}}}},
	} {
		cfg.Receivers = ops
		_, err := notify.New(cfg)
		require.ErrorContains(t, err, want)
	}
}

// TestMutedByTimeIntervals: alerts stay in their groups and are told of when the interval is over; what was resolved in it is not. Routes do
// not inherit intervals.
func TestMutedByTimeIntervals(t *testing.T) {
	clock := at(0) // 22:13:20
	minute := clock.Hour()*60 + clock.Minute()
	minutes := func(from, to int) []notify.TimeInterval {
		return []notify.TimeInterval{{Times: []notify.TimeRange{{StartMinute: minute + from, EndMinute: minute + to}}}}
	}
	inherits := []notify.Route{{Matchers: match(t, `alertname="a",n="child"`)}}
	w := newWorld(t, notify.Config{
		Route: notify.Route{GroupBy: []string{"alertname"}, GroupWait: time.Second, GroupInterval: 10 * time.Second, Routes: []notify.Route{
			{Matchers: match(t, `alertname="a"`), MuteTimeIntervals: []string{"first", "later"}, Routes: inherits},
			{Matchers: match(t, `alertname="b"`), ActiveTimeIntervals: []string{"first", "second"}},
			{Matchers: match(t, `alertname="c"`), ActiveTimeIntervals: []string{"second"}},
			{Matchers: match(t, `alertname="d"`), ActiveTimeIntervals: []string{"first"}, MuteTimeIntervals: []string{"first"}},
		}},
		TimeIntervals: map[string][]notify.TimeInterval{
			"first": minutes(0, 1), "second": append(minutes(1, 2), minutes(3, 4)...), "later": minutes(10, 11), // minutes begin at 40 s
		},
	})
	w.take(alert(0, 0, "alertname", "a"), alert(0, 0, "alertname", "a", "n", "2"), alert(0, 0, "alertname", "a", "n", "child"))
	for _, name := range []string{"b", "c", "d"} {
		w.take(alert(0, 0, "alertname", name))
	}
	group := func(name string) string {
		for id, all := range w.d.Groups() {
			if slices.ContainsFunc(all, func(f string) bool { return f == "alertname,"+name }) {
				return id
			}
		}
		t.Fatalf("no group has %s", name)
		return ""
	}
	a, b, c, d := group("a"), group("b"), group("c"), group("d")
	require.Equal(t, []string{"first"}, w.d.MutedByIntervals(a, at(1)))
	require.Nil(t, w.d.MutedByIntervals(b, at(1)))
	require.Equal(t, []string{"second"}, w.d.MutedByIntervals(c, at(1)))
	require.Equal(t, []string{"first"}, w.d.MutedByIntervals(d, at(1)))
	require.Equal(t, []string{"first"}, w.d.MutedByIntervals(d, at(101)))
	require.Nil(t, w.d.MutedByIntervals("gone", at(1)))
	muted := make(map[string][]string)
	for _, l := range w.d.List(at(1)) {
		muted[l.Fingerprint] = l.MutedBy
		require.Equal(t, l.MutedBy != nil, l.Suppressed())
	}
	require.Equal(t, map[string][]string{
		"alertname,a": {"first"}, "alertname,a,n,2": {"first"}, "alertname,a,n,child": nil, "alertname,b": nil, "alertname,c": {"second"}, "alertname,d": {"first"},
	}, muted)
	require.Contains(t, w.d.Explain("alertname,c", at(1)).String(), "  muted by the time interval second\n")
	require.Contains(t, w.d.Explain("alertname,c", at(1)).String(), "    quiet now: second\n")
	require.ElementsMatch(t, []string{"1.0 default: first notification: a/child 0.0", "1.0 default: first notification: b 0.0"}, w.until(30))
	w.take(alert(0, 30, "alertname", "a", "n", "2"))
	require.ElementsMatch(t, []string{"41.0 default: first notification: a 0.0", "41.0 default: first notification: c 0.0"}, w.until(95))
	w.take(alert(0, 95, "alertname", "b"), alert(0, 95, "alertname", "a"))
	require.Equal(t, []string{"101.0 default: all alerts resolved: a 0.0-95.0"}, w.until(165)) // b is resolved outside of its intervals
	w.take(alert(165, 0, "alertname", "b"))
	require.Empty(t, w.until(230)) // it was told of last as one that fires, and it fires
}
