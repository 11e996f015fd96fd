package api

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
)

type statusAnswer struct {
	Cluster     clusterStatus `json:"cluster"`
	Config      configStatus  `json:"config"`
	Uptime      time.Time     `json:"uptime"`
	VersionInfo versionInfo   `json:"versionInfo"`
}

type clusterStatus struct {
	Name   string   `json:"name"`
	Peers  []string `json:"peers"`
	Status string   `json:"status"`
}

type configStatus struct {
	Original string `json:"original"`
}

type versionInfo struct {
	Branch    string `json:"branch"`
	BuildDate string `json:"buildDate"`
	BuildUser string `json:"buildUser"`
	GoVersion string `json:"goVersion"`
	Revision  string `json:"revision"`
	Version   string `json:"version"`
}

func (s *Server) status(*http.Request) (any, error) {
	return statusAnswer{
		Cluster: clusterStatus{Peers: []string{}, Status: "disabled"}, Config: configStatus{s.cfg.Original}, Uptime: s.began.UTC(),
		VersionInfo: versionInfo{Version: "rossby", GoVersion: runtime.Version()},
	}, nil
}

func (s *Server) receivers(*http.Request) (any, error) {
	list, seen := []receiver{}, make(map[string]bool)
	for _, r := range s.cfg.Notify.Receivers {
		if !seen[r.Name] {
			list = append(list, receiver{r.Name})
		}
		seen[r.Name] = true
	}
	return list, nil
}

// The configuration as Alertmanager's file has it, in JSON, which is YAML.
type configFile struct {
	Route     routeFile     `json:"route"`
	Receivers []receiver    `json:"receivers"`
	Inhibit   []inhibitFile `json:"inhibit_rules,omitempty"`
}

type routeFile struct {
	Receiver       string      `json:"receiver,omitempty"`
	Matchers       []string    `json:"matchers,omitempty"`
	Continue       bool        `json:"continue,omitempty"`
	GroupBy        []string    `json:"group_by,omitempty"`
	GroupWait      string      `json:"group_wait,omitempty"`
	GroupInterval  string      `json:"group_interval,omitempty"`
	RepeatInterval string      `json:"repeat_interval,omitempty"`
	Routes         []routeFile `json:"routes,omitempty"`
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
	data, err := json.MarshalIndent(file, "", "  ")
	return string(data) + "\n", err
}

func routeOf(r *notify.Route) routeFile {
	f := routeFile{
		Receiver: r.Receiver, Matchers: matcherTexts(r.Matchers), Continue: r.Continue, GroupBy: r.GroupBy,
		GroupWait: duration(r.GroupWait), GroupInterval: duration(r.GroupInterval), RepeatInterval: duration(r.RepeatInterval),
	}
	for i := range r.Routes {
		f.Routes = append(f.Routes, routeOf(&r.Routes[i]))
	}
	return f
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
