package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// The configuration as Alertmanager's file has it, in JSON, which is YAML.
type configFile struct {
	Route     routeFile     `json:"route"`
	Receivers []receiver    `json:"receivers"`
	Inhibit   []inhibitFile `json:"inhibit_rules,omitempty"`
	Intervals []namedTimes  `json:"time_intervals,omitempty"`
}

type routeFile struct {
	Receiver       string      `json:"receiver,omitempty"`
	Matchers       []string    `json:"matchers,omitempty"`
	Continue       bool        `json:"continue,omitempty"`
	GroupBy        []string    `json:"group_by,omitempty"`
	GroupWait      string      `json:"group_wait,omitempty"`
	GroupInterval  string      `json:"group_interval,omitempty"`
	RepeatInterval string      `json:"repeat_interval,omitempty"`
	Mute           []string    `json:"mute_time_intervals,omitempty"`
	Active         []string    `json:"active_time_intervals,omitempty"`
	Routes         []routeFile `json:"routes,omitempty"`
}

type namedTimes struct {
	Name  string      `json:"name"`
	Times []timesFile `json:"time_intervals"`
}

type timesFile struct {
	Times       []timeFile `json:"times,omitempty"`
	Weekdays    []string   `json:"weekdays,omitempty"`
	DaysOfMonth []string   `json:"days_of_month,omitempty"`
	Months      []string   `json:"months,omitempty"`
	Years       []string   `json:"years,omitempty"`
	Location    string     `json:"location,omitempty"`
}

type timeFile struct {
	Start string `json:"start_time"`
	End   string `json:"end_time"`
}

type inhibitFile struct {
	Source []string `json:"source_matchers"`
	Target []string `json:"target_matchers"`
	Equal  []string `json:"equal,omitempty"`
}

// original writes a configuration. There are no secrets in it.
func original(cfg *notify.Config) (string, error) {
	file := configFile{Route: routeOf(&cfg.Route)}
	seen := make(map[string]bool)
	for _, r := range cfg.Receivers {
		if !seen[r.Name] {
			file.Receivers = append(file.Receivers, receiver{r.Name})
		}
		seen[r.Name] = true
	}
	for _, i := range cfg.Inhibit {
		file.Inhibit = append(file.Inhibit, inhibitFile{matcherTexts(i.Source), matcherTexts(i.Target), i.Equal})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.TimeIntervals)) {
		named := namedTimes{Name: name}
		for _, ti := range cfg.TimeIntervals[name] {
			named.Times = append(named.Times, timesOf(&ti))
		}
		file.Intervals = append(file.Intervals, named)
	}
	data, err := json.MarshalIndent(file, "", "  ")
	return string(data) + "\n", err
}

func routeOf(r *notify.Route) routeFile {
	f := routeFile{
		Receiver: r.Receiver, Matchers: matcherTexts(r.Matchers), Continue: r.Continue, GroupBy: r.GroupBy,
		GroupWait: duration(r.GroupWait), GroupInterval: duration(r.GroupInterval), RepeatInterval: duration(r.RepeatInterval),
		Mute: r.MuteTimeIntervals, Active: r.ActiveTimeIntervals,
	}
	for i := range r.Routes {
		f.Routes = append(f.Routes, routeOf(&r.Routes[i]))
	}
	return f
}

func timesOf(ti *notify.TimeInterval) timesFile {
	number := strconv.Itoa
	weekday := func(day int) string { return strings.ToLower(time.Weekday(day).String()) }
	f := timesFile{
		Weekdays: rangeTexts(ti.Weekdays, weekday), DaysOfMonth: rangeTexts(ti.DaysOfMonth, number),
		Months: rangeTexts(ti.Months, number), Years: rangeTexts(ti.Years, number),
	}
	clock := func(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
	for _, t := range ti.Times {
		f.Times = append(f.Times, timeFile{clock(t.StartMinute), clock(t.EndMinute)})
	}
	if ti.Location != nil {
		f.Location = ti.Location.String()
	}
	return f
}

func rangeTexts(ranges []notify.InclusiveRange, text func(int) string) (texts []string) {
	for _, r := range ranges {
		if r.Begin == r.End {
			texts = append(texts, text(r.Begin))
		} else {
			texts = append(texts, text(r.Begin)+":"+text(r.End))
		}
	}
	return texts
}

func matcherTexts(ms notify.Matchers) (texts []string) {
	for _, m := range ms {
		texts = append(texts, m.String())
	}
	return texts
}

// duration writes a duration as Prometheus reads it, in milliseconds at the least; nothing for zero.
func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	var b strings.Builder
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / unit.of; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + unit.name)
			d -= n * unit.of
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}
