package receivers

import "github.com/rossby-streams/rossby/alerting/notify"

// Words are what a template makes, within so many bytes.
func (t *Template) Words(n *notify.Notification, most int) string {
	return t.words(n, most, unescaped, "otherwise")
}
