package ext4

import "errors"

// Tags of the entries of a POSIX access control list, in the order in which
// they must come.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

var errACL = errors.New("not a valid access control list")

// diskACL turns an access control list from the form of the system calls
// (version 2: entries of 8 bytes, each with an id) into the form of ext4's
// disks (version 1: an id only where there is one). It refuses what Linux
// would, since a list on disk says nowhere how many entries it has.
func diskACL(value []byte) ([]byte, error) {
	if len(value) < 4 || len(value)%8 != 4 || le.Uint32(value) != 2 {
		return nil, errACL
	}
	disk := le.AppendUint32(nil, 1)
	count := map[uint16]int{}
	lastTag, lastID := uint16(0), uint32(0)
	for p := value[4:]; len(p) > 0; p = p[8:] {
		tag, perm, id := le.Uint16(p[0:]), le.Uint16(p[2:]), le.Uint32(p[4:])
		if perm > 7 || tag < lastTag {
			return nil, errACL
		}
		disk = append(disk, p[:4]...)
		switch tag {
		case aclUser, aclGroup:
			if tag == lastTag && id <= lastID {
				return nil, errACL
			}
			disk = append(disk, p[4:8]...)
		case aclUserObj, aclGroupObj, aclMask, aclOther:
			if tag == lastTag {
				return nil, errACL
			}
		default:
			return nil, errACL
		}
		count[tag]++
		lastTag, lastID = tag, id
	}
	named := count[aclUser] + count[aclGroup]
	if count[aclUserObj] == 0 || count[aclGroupObj] == 0 || count[aclOther] == 0 || named > 0 && count[aclMask] == 0 {
		return nil, errACL
	}
	return disk, nil
}
