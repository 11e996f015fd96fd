package api

import (
	"net/http"
	"runtime"
	"time"
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
