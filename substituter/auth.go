package substituter

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
)

// login is what a cache's own server, and no other, is told.
type login struct {
	header string // value of Authorization, or ""
	from   string // where it was found
	netrc  string // the file that was looked into, or ""
}

// login finds the credentials for a cache: those in its URL, else the
// Authorization of the settings, else those of the netrc file.
func (s HTTPSettings) login(u *url.URL) login {
	l := login{header: s.Authorization, from: "the authorization given for this cache"}
	if s.Netrc != nil {
		l.netrc = s.Netrc.File
	}
	if u.User != nil {
		password, _ := u.User.Password()
		l.header, l.from = basic(u.User.Username(), password), "the URL"
	}
	if l.header == "" && s.Netrc != nil {
		if m := s.Netrc.find(u); m != nil {
			l.from = s.Netrc.File
			if l.header = basic(m.Login, m.Password); m.Login == "" {
				l.header = "Bearer " + m.Password
			}
		}
	}
	return l
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// refused says what a server did that answered 401.
func (l login) refused() string {
	if l.header != "" {
		return "does not take the credentials from " + l.from
	}
	where := "none are in the URL"
	if l.netrc != "" {
		where += " or in " + l.netrc
	}
	return "wants credentials: " + where
}

// Netrc holds the passwords of a netrc file.
type Netrc struct {
	File     string // its name, for messages
	Machines []Machine
}

// Machine is one entry of a netrc file.
type Machine struct {
	Name            string // a host, HOST:PORT, or "" for all others
	Login, Password string // without a login, the password is a bearer token
}

// ParseNetrc reads the text of a netrc file, as curl and Nix do: words, of which
// a "macdef" ends at the next empty line. A text in double quotes is one word,
// and # in place of a keyword begins a comment.
func ParseNetrc(file, text string) (*Netrc, error) {
	n := &Netrc{File: file}
	w := words{rest: text}
	var m *Machine
	for key, ok := w.next(); ok; key, ok = w.next() {
		switch {
		case strings.HasPrefix(key, "#"):
			w.skipTo("\n")
			continue
		case key == "macdef":
			w.skipTo("\n\n")
			continue
		case key == "default":
			n.Machines = append(n.Machines, Machine{})
			m = &n.Machines[len(n.Machines)-1]
			continue
		}
		value, ok := w.next()
		switch {
		case !ok:
			return nil, errors.New(file + ": it ends after a keyword")
		case key == "machine":
			n.Machines = append(n.Machines, Machine{Name: strings.ToLower(value)})
			m = &n.Machines[len(n.Machines)-1]
		case m == nil:
			return nil, errors.New(file + ": it does not begin with machine or default")
		case key == "login":
			m.Login = value
		case key == "password":
			m.Password = value
		case key != "account":
			// The word itself may be a password: it is not shown.
			return nil, errors.New(file + ": there is a word where machine, login or password must be")
		}
	}
	return n, nil
}

// find returns the first entry for a URL's host, or nil.
func (n *Netrc) find(u *url.URL) *Machine {
	host, name := strings.ToLower(u.Host), strings.ToLower(u.Hostname())
	for i := range n.Machines {
		if m := &n.Machines[i]; m.Name == host || m.Name == name || m.Name == "" {
			return m
		}
	}
	return nil
}

// words takes a text apart.
type words struct{ rest string }

const blanks = " \t\r\n"

func (w *words) next() (string, bool) {
	w.rest = strings.TrimLeft(w.rest, blanks)
	if w.rest == "" {
		return "", false
	}
	if quoted, ok := strings.CutPrefix(w.rest, `"`); ok {
		var b strings.Builder
		for i := 0; i < len(quoted); i++ {
			switch c := quoted[i]; {
			case c == '"':
				w.rest = quoted[i+1:]
				return b.String(), true
			case c == '\\' && i+1 < len(quoted):
				i++
				b.WriteByte(quoted[i])
			default:
				b.WriteByte(c)
			}
		}
		w.rest = ""
		return b.String(), true
	}
	end := strings.IndexAny(w.rest, blanks)
	if end < 0 {
		end = len(w.rest)
	}
	word := w.rest[:end]
	w.rest = w.rest[end:]
	return word, true
}

// skipTo drops what comes before the next mark, and that.
func (w *words) skipTo(mark string) {
	_, w.rest, _ = strings.Cut(w.rest, mark)
}
