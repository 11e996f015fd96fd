package alerting

import (
	"github.com/rossby-streams/rossby/processor/processortest"
)

// Standing is the alarm of a key as a rule has it in its store.
type Standing struct {
	Machine
	Value       float64
	Annotations map[string]string
}

// StandingAlarm looks into the store of a rule.
func StandingAlarm(d *processortest.Driver, rule, key string) (Standing, bool, error) {
	state, ok, err := processortest.StoreValue[keyState](d, rule, "alarms", key)
	if err != nil || !ok || state.Alarm == nil {
		return Standing{}, false, err
	}
	return Standing{Machine: state.Alarm.Machine, Value: state.Alarm.Value}, true, nil
}

// Render fills in one template for an alarm.
func Render(text string, a Alarm) (string, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return "", err
	}
	return render(t, &a)
}

// IdentityKey is the key under which the alarm with that key and these labels is kept.
func IdentityKey(key string, by map[string]string) string {
	t := threshold[int]{}
	return t.labelled(key, by).store
}

// Remembers says whether an operator of changing rules has anything of the alarm that a rule has of a key, since a version.
func Remembers(d *processortest.Driver, operator, rule string, since Version, key string) bool {
	store := prefixOf(rule, since) + key
	_, state, _ := processortest.StoreValue[keyState](d, operator, "alarms", store)
	samples, _ := processortest.StoreRows[point](d, operator, "samples", store)
	return state || len(samples) > 0
}
