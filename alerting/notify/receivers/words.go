package receivers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// title is a notification in one line: [FIRING:2] HighCPU (team="web").
func title(n *notify.Notification) string {
	firing := 0
	for i := range n.Alerts {
		if n.Alerts[i].EndsAt.IsZero() {
			firing++
		}
	}
	state := fmt.Sprintf("FIRING:%d", firing)
	if firing == 0 {
		state = "RESOLVED"
	}
	words := []string{"[" + state + "]"}
	if name := n.GroupLabels[notify.LabelName]; name != "" {
		words = append(words, name)
	}
	var rest []string
	for _, name := range slices.Sorted(maps.Keys(n.GroupLabels)) {
		if name != notify.LabelName {
			rest = append(rest, fmt.Sprintf("%s=%q", name, n.GroupLabels[name]))
		}
	}
	if len(rest) > 0 {
		words = append(words, "("+strings.Join(rest, " ")+")")
	}
	return strings.Join(words, " ")
}

// line is an alert in one line: firing HighCPU web1 critical: it is hot.
func line(a *notify.Alert) string {
	words := []string{status(!a.EndsAt.IsZero())}
	for _, name := range []string{notify.LabelName, notify.LabelKey, notify.LabelSeverity} {
		if value := a.Labels[name]; value != "" {
			words = append(words, value)
		}
	}
	text := strings.Join(words, " ")
	for _, name := range []string{"summary", "description", notify.AnnotationReason} {
		if value := a.Annotations[name]; value != "" {
			return text + ": " + value
		}
	}
	return text
}

// lines are as many alerts as there is room for, and how many are left out.
func lines(alerts []notify.Alert, room int, escape func(string) string) string {
	const reserve = 32 // for what says how many there are more
	var b strings.Builder
	for i := range alerts {
		next := escape(line(&alerts[i])) + "\n"
		if b.Len()+len(next) > room-reserve {
			if i == 0 {
				b.WriteString(cut(next, room-reserve) + "\n")
				i++
			}
			if more := len(alerts) - i; more > 0 {
				fmt.Fprintf(&b, "and %d more\n", more)
			}
			break
		}
		b.WriteString(next)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cut shortens a text to so many bytes, whole characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:max(most-3, 0)], "") + "..."
}

// worst is the severity of the worst alert that fires, or of the worst if none does.
func worst(alerts []notify.Alert) string {
	order := []string{"", "info", "warning", "error", "critical"}
	most := 0
	firing := slices.ContainsFunc(alerts, func(a notify.Alert) bool { return a.EndsAt.IsZero() })
	for i := range alerts {
		if !firing || alerts[i].EndsAt.IsZero() {
			most = max(most, slices.Index(order, alerts[i].Labels[notify.LabelSeverity]))
		}
	}
	return order[most]
}
