package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// askedPath is where the server says what it was asked for since it last said so.
const askedPath = "/asked"

// An asked is how much a server was asked for.
type asked struct {
	Requests int `json:"requests"`
	Most     int `json:"most"` // for one path
}

// serve serves a directory, prints its address, and ends when in does. Where a path
// begins with a duration, it waits that long before it answers: /25ms/xz/nix-cache-info.
func serve(dir string, in io.Reader) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	var mu sync.Mutex
	paths := map[string]int{}
	files := http.FileServer(http.Dir(dir))
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == askedPath {
			mu.Lock()
			defer mu.Unlock()
			var a asked
			for _, n := range paths {
				a.Requests += n
				a.Most = max(a.Most, n)
			}
			clear(paths)
			json.NewEncoder(w).Encode(a)
			return
		}
		mu.Lock()
		paths[r.URL.Path]++
		mu.Unlock()
		first, _, _ := strings.Cut(r.URL.Path[1:], "/")
		if latency, err := time.ParseDuration(first); err == nil {
			time.Sleep(latency)
			http.StripPrefix("/"+first, files).ServeHTTP(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	_, err = io.Copy(io.Discard, in)
	return err
}

// ask returns what the server at url was asked for, and forgets it.
func ask(url string) (a asked, err error) {
	answer, err := http.Get(url + askedPath)
	if err != nil {
		return a, err
	}
	defer answer.Body.Close()
	return a, json.NewDecoder(answer.Body).Decode(&a)
}
