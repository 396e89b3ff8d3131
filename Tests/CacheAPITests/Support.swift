import Base
import Cache
import CacheAPI
import RESP
