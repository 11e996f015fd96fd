package notifyfile

import (
	"encoding/json"

	"github.com/prometheus/alertmanager/timeinterval"

	"github.com/rossby-streams/rossby/alerting/internal/document"
	"github.com/rossby-streams/rossby/alerting/notify"
)

// timeIntervals reads a list of named time intervals.
func timeIntervals(n *document.Node, to *notify.TimeIntervals) error {
	items, err := n.AsList("objects")
	if err != nil {
		return err
	}
	if *to == nil {
		*to = make(notify.TimeIntervals, len(items))
	}
	for _, item := range items {
		fields, err := item.Fields("name", "time_intervals")
		if err != nil {
			return err
		}
		if fields["name"] == nil || fields["time_intervals"] == nil {
			return item.Errorf(`a time interval needs "name" and "time_intervals"`)
		}
		name, err := fields["name"].AsString()
		if err != nil {
			return err
		}
		if _, there := (*to)[name]; there || name == "" {
			return fields["name"].Errorf("the time interval %q is there already, or has no name: give each another", name)
		}
		times := []timeinterval.TimeInterval{}
		if err := each(fields["time_intervals"], &times, timeInterval); err != nil {
			return err
		}
		(*to)[name] = times
	}
	return nil
}

// timeInterval lets the library read one, as the JSON that it takes: all of it are texts there, numbers as well.
func timeInterval(n *document.Node) (i timeinterval.TimeInterval, err error) {
	lists := []string{"weekdays", "days_of_month", "months", "years"}
	fields, err := n.Fields(append([]string{"times", "location"}, lists...)...)
	if err != nil {
		return i, err
	}
	whole := make(map[string]any, len(fields))
	for _, name := range lists {
		f, ok := fields[name]
		if !ok {
			continue
		}
		var texts []string
		if err := each(f, &texts, text); err != nil {
			return i, err
		}
		whole[name] = texts
	}
	if f, ok := fields["times"]; ok {
		var times []map[string]string
		if err := each(f, &times, (*document.Node).AsStrings); err != nil {
			return i, err
		}
		whole["times"] = times
	}
	if f, ok := fields["location"]; ok {
		if whole["location"], err = f.AsString(); err != nil {
			return i, err
		}
	}
	data, err := json.Marshal(whole)
	if err == nil {
		err = json.Unmarshal(data, &i)
	}
	if err != nil {
		return i, n.Errorf("%v", err)
	}
	return i, nil
}

// text is a word or a number as it stands.
func text(n *document.Node) (string, error) {
	if n.Kind == document.Number {
		return n.Text, nil
	}
	return n.AsString()
}
